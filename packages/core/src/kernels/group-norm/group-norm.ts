import { isProcessor } from '../../plan/capabilities.ts';
import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { affineCode, type Affine } from '../affine.ts';
import { epilogueCode, type EpilogueViews } from '../elementwise/epilogue.ts';
import { sumOf, workgroupReduction } from '../reduction.ts';
import { f32, u32, type Param } from '../shader.ts';
import {
  columnMemory,
  groupNormDesign,
  type GroupNormShape,
  type GroupStatistics,
  type SingleDesign,
  type SplitDesign,
} from './design.ts';
import { inputCode, type GroupNormInput } from './input.ts';
import { momentsCode } from './moments.ts';
import { mergeMoments, producedMoments } from './produced.ts';
import { normalizeCode } from './normalize.ts';
import applySource from './group_norm_apply.wgsl';
import scalarSource from './group_norm_scalar.wgsl';
import singleSource from './group_norm_single.wgsl';
import statisticsSource from './group_norm_statistics.wgsl';

/** `scale` and `bias` are [channels]. */
export interface GroupNormTask extends GroupNormShape, Affine, GroupNormInput {
  epsilon: number;
  epilogue: EpilogueViews | undefined;
  /** Dense, channels-last. */
  y: TensorView;
}

/** Whether `groupNorm` can finish with an epilogue and store without `y_store`: rows of whole vec4s. */
export function isVectorized(lowering: Lowering, shape: GroupNormShape): boolean {
  return groupNormDesign(shape, lowering.capabilities).kind !== 'scalar';
}

/** Emits (x - mean) / sqrt(variance + epsilon) * scale + bias, one mean and variance for each sample and group. */
export function groupNorm(lowering: Lowering, task: GroupNormTask): void {
  const design = groupNormDesign(task, lowering.capabilities);
  switch (design.kind) {
    case 'single':
      return single(lowering, task, design);
    case 'split': {
      const moments = task.pair ? undefined : producedMoments(lowering, task.x);
      const known = moments
        ? mergeMoments(lowering, task, moments, design)
        : statistics(lowering, task, design);
      return applyStatistics(lowering, task, known);
    }
    case 'scalar':
      return scalar(lowering, task, design.threads);
  }
}

function single(lowering: Lowering, task: GroupNormTask, design: SingleDesign): void {
  const { y, channels, positions, groups, batch } = task;
  const epilogue = epilogueCode(task.epilogue, y);
  const affine = affineCode(task, 4);
  const x = inputCode(task);
  const bundles = groups / design.bundle;
  const workgroups = batch * bundles * design.shares;
  const sums = sumsCode(design.bundle);
  lowering.dispatch({
    name: 'group_norm_single',
    body: singleSource,
    inputs: { ...x.inputs, ...affine.inputs, ...epilogue.inputs },
    outputs: { y },
    params: {
      workgroups: u32(workgroups),
      shares: u32(design.shares),
      bundles: u32(bundles),
      columns: u32(design.columns),
      rows: u32(design.rows),
      group_channels: u32(channels / groups),
      positions: u32(positions),
      span_positions: u32(Math.ceil(positions / design.shares)),
      channels: u32(channels),
      epsilon: f32(task.epsilon),
      ...x.params,
      ...epilogue.params,
    },
    constants: { WORKGROUP: design.threads, COLUMNS: columnMemory(design.columns) },
    functions: [
      x.functions,
      momentsCode(task, false),
      affine.functions,
      epilogue.functions,
      normalizeCode(task, false),
      sums.functions,
      workgroupReduction('total', sumOf(sums.type), design.threads, design.threads),
    ].join('\n'),
    workgroups,
    work: { flops: 7 * batch * channels * positions },
  });
}

/** Two sums for each group of a bundle. */
function sumsCode(bundle: number): { type: string; functions: string } {
  if (bundle === 1) {
    return {
      type: 'vec2f',
      functions: `fn sums_of(a: vec4f, b: vec4f, group: vec4u) -> vec2f { return vec2f(dot(a, vec4f(1.0)), dot(b, vec4f(1.0))); }
fn lane_sums(sums: vec2f, group: u32) -> vec2f { return sums; }`,
    };
  }
  const type = `mat${bundle}x2f`;
  const columns = Array.from({ length: bundle }, (_, k) => `group_sums(a, b, group == vec4u(${k}u))`);
  return {
    type,
    functions: `fn group_sums(a: vec4f, b: vec4f, inside: vec4<bool>) -> vec2f {
  let lanes = select(vec4f(0.0), vec4f(1.0), inside);
  return vec2f(dot(a, lanes), dot(b, lanes));
}
fn sums_of(a: vec4f, b: vec4f, group: vec4u) -> ${type} { return ${type}(${columns.join(', ')}); }
fn lane_sums(sums: ${type}, group: u32) -> vec2f { return sums[group]; }`,
  };
}

function statistics(lowering: Lowering, task: GroupNormTask, design: SplitDesign): GroupStatistics {
  const { batch, groups } = task;
  const x = inputCode(task);
  const view = lowering.scratch('statistics', [batch, groups, design.chunks, design.parts, 2], 'f32');
  lowering.dispatch({
    name: 'group_norm_statistics',
    body: statisticsSource,
    inputs: x.inputs,
    outputs: { partials: view },
    params: { ...splitParams(task, design), ...x.params },
    constants: { WORKGROUP: design.threads },
    functions: `${x.functions}\n${momentsCode(task, isProcessor(lowering.capabilities))}`,
    workgroups: batch * design.chunks * design.tiles,
    work: { flops: 5 * batch * task.channels * task.positions },
  });
  return { view, design };
}

function applyStatistics(lowering: Lowering, task: GroupNormTask, { view, design }: GroupStatistics): void {
  const { y, batch } = task;
  const x = inputCode(task);
  const epilogue = epilogueCode(task.epilogue, y);
  const affine = affineCode(task, 4);
  lowering.dispatch({
    name: 'group_norm_apply',
    body: applySource,
    inputs: { ...x.inputs, partials: view, ...affine.inputs, ...epilogue.inputs },
    outputs: { y },
    params: {
      ...splitParams(task, design),
      group_channels: u32(task.channels / task.groups),
      // 32 suffice for 128 chunks, and the sum over them is one thread's work.
      group_lanes: u32(Math.min(32, Math.floor(design.threads / design.tileGroups))),
      spans: u32(design.spans),
      span_positions: u32(design.spanPositions),
      epsilon: f32(task.epsilon),
      ...x.params,
      ...epilogue.params,
    },
    constants: { WORKGROUP: design.threads },
    functions: [
      x.functions,
      affine.functions,
      epilogue.functions,
      normalizeCode(task, isProcessor(lowering.capabilities)),
    ].join('\n'),
    workgroups: batch * design.spans * design.tiles,
    work: { flops: 3 * batch * task.channels * task.positions },
  });
}

function splitParams(task: GroupNormTask, design: SplitDesign): Record<string, Param> {
  return {
    batch: u32(task.batch),
    groups: u32(task.groups),
    positions: u32(task.positions),
    channels: u32(task.channels),
    tiles: u32(design.tiles),
    columns: u32(design.columns),
    rows: u32(design.rows),
    tile_groups: u32(design.tileGroups),
    tile_group_channels: u32(design.tileGroupChannels),
    parts: u32(design.parts),
    chunks: u32(design.chunks),
    chunk_positions: u32(design.chunkPositions),
  };
}

function scalar(lowering: Lowering, task: GroupNormTask, threads: number): void {
  if (task.epilogue) throw new Error('Internal error: group_norm_scalar takes no epilogue');
  const affine = affineCode(task, 1);
  lowering.dispatch({
    name: 'group_norm_scalar',
    body: scalarSource,
    inputs: { x: task.x, ...affine.inputs },
    outputs: { y: task.y },
    params: {
      sample_groups: u32(task.batch * task.groups),
      groups: u32(task.groups),
      group_channels: u32(task.channels / task.groups),
      positions: u32(task.positions),
      channels: u32(task.channels),
      epsilon: f32(task.epsilon),
    },
    constants: { WORKGROUP: threads },
    functions: `${affine.functions}\n${workgroupReduction('total', sumOf('f32'), threads, threads)}`,
    workgroups: task.batch * task.groups,
    work: { flops: 7 * task.batch * task.channels * task.positions },
  });
}
