import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { channelsLast, isDense } from '../../plan/view.ts';
import { equalShapes, sizeOf } from '../../tensor/shape.ts';
import { sumOf, workgroupReduction } from '../reduction.ts';
import { storageBits, u32 } from '../shader.ts';
import { groupNormDesign, type GroupNormShape, type GroupStatistics, type SplitDesign } from './design.ts';
import mergeSource from './group_norm_merge.wgsl';

/**
 * Moments of a tensor, dense and channels-last, that its producer left: f32 [batch, channels / 4, chunks, 2], the mean and
 * the sum of squared deviations from it, of four channels over `chunkPositions` positions. Which positions a chunk has
 * does not matter.
 */
export interface ProducedMoments {
  view: TensorView;
  chunks: number;
  chunkPositions: number;
}

/** More than a large GPU's caches keep until it is read again: an H100 has 50 MB of them. */
const LEAST_BYTES = 64e6;
/** Threads that merge the moments of a group. */
const MERGE_THREADS = 1024;

/** Whether the producer of `output` should leave moments for a norm of so many groups, rather than have it read twice. */
export function wantsMoments(lowering: Lowering, output: TensorView, groups: number): boolean {
  const [batch = 1, channels = 1, ...spatial] = output.shape;
  const design = groupNormDesign(
    { batch, channels, positions: sizeOf(spatial), groups },
    lowering.capabilities,
  );
  // The second dispatch wants whole groups in its tiles.
  if (design.kind !== 'split' || design.parts > 1 || (channels / groups) % 4 !== 0) return false;
  const bytes = (sizeOf(output.shape) * storageBits[output.storage]) / 8;
  return lowering.tuning.producedMoments ?? bytes >= LEAST_BYTES;
}

/** Moments that the producer of `x` left, where `x` is all of what it made. */
export function producedMoments(lowering: Lowering, x: TensorView): ProducedMoments | undefined {
  const produced = lowering.moments(x);
  const whole =
    produced && equalShapes(produced.of.shape, x.shape) && isDense(x, channelsLast(x.shape.length));
  return whole ? produced.moments : undefined;
}

/** Statistics of whole groups, as one chunk, from what the producer left of every four channels. */
export function mergeMoments(
  lowering: Lowering,
  { batch, channels, positions, groups }: GroupNormShape,
  { view, chunks, chunkPositions }: ProducedMoments,
  design: SplitDesign,
): GroupStatistics {
  const merged = lowering.scratch('statistics', [batch, groups, 2], 'f32');
  const moments = (channels / groups / 4) * chunks;
  const { maxComputeInvocationsPerWorkgroup } = lowering.capabilities.limits;
  const threads = 2 ** Math.floor(Math.log2(Math.min(MERGE_THREADS, maxComputeInvocationsPerWorkgroup)));
  lowering.dispatch({
    name: 'group_norm_merge',
    body: mergeSource,
    inputs: { moments: view },
    outputs: { partials: merged },
    params: { groups: u32(batch * groups), moments: u32(moments), elements: u32(4 * chunkPositions) },
    constants: { WORKGROUP: threads },
    functions: workgroupReduction('total', sumOf('f32'), threads, threads),
    workgroups: batch * groups,
  });
  return { view: merged, design: { ...design, chunks: 1, chunkPositions: positions } };
}
