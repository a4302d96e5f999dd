import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { lanesFor, linesCode } from '../lines.ts';
import { scalarOf } from '../shader.ts';
import source from './arg_reduce.wgsl';

export interface ArgReduceOptions {
  axis: number;
  /** Largest or smallest element. */
  largest: boolean;
  /** Of equal elements the last one wins. */
  last: boolean;
}

/** Emits the index of the best element of each line of `x`. `y` is dense row-major, i32, one element for each line. */
export function argReduce(lowering: Lowering, x: TensorView, y: TensorView, options: ArgReduceOptions): void {
  const { lines, length, functions, params } = linesCode(x, options.axis);
  const lanes = lanesFor(lines, length);
  const threads = Math.max(64, lanes);
  lowering.dispatch({
    name: options.largest ? 'arg_max' : 'arg_min',
    body: source,
    inputs: { x },
    outputs: { y },
    params,
    aliases: { Scalar: scalarOf(x.storage) },
    constants: { WORKGROUP: threads, LANES: lanes, LARGEST: options.largest, LAST: options.last },
    functions,
    workgroups: Math.ceil((lines * lanes) / threads),
    work: { flops: lines * length },
  });
}
