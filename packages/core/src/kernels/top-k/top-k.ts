import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { linesCode, resultLines } from '../lines.ts';
import { scalarOf, u32 } from '../shader.ts';
import source from './top_k.wgsl';

const WORKGROUP = 64;

export interface TopKTask {
  x: TensorView;
  axis: number;
  largest: boolean;
  /** Dense, k elements along the axis, same order of axes both; stored one by one. */
  values: TensorView;
  indices: TensorView;
}

/** Emits the first elements of each line in sorted order. The work grows with the square of a line's length. */
export function topK(lowering: Lowering, { x, axis, largest, values, indices }: TopKTask): void {
  const { lines, length, ...from } = linesCode(x, axis);
  const to = resultLines(values, axis);
  lowering.dispatch({
    name: 'top_k',
    body: source,
    inputs: { x },
    outputs: { values, indices },
    params: { ...from.params, ...to.params, k: u32(values.shape[axis] ?? 1) },
    aliases: { Scalar: scalarOf(x.storage) },
    constants: { WORKGROUP, LARGEST: largest },
    functions: `${from.functions}\n${to.functions}`,
    workgroups: Math.ceil((lines * length) / WORKGROUP),
    work: { flops: lines * length * length },
  });
}
