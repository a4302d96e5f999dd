import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { lanesFor, linesCode, resultLines } from '../lines.ts';
import { scalarOf } from '../shader.ts';
import source from './scan.wgsl';

export interface ScanOptions {
  axis: number;
  kind: 'sum' | 'product';
  /** Element k of the result covers the elements before k only. */
  exclusive: boolean;
  /** From the end of the axis to its start. */
  reverse: boolean;
}

/** Emits running sums or products of `x`. `y` is dense, stored one by one. */
export function scan(lowering: Lowering, x: TensorView, y: TensorView, options: ScanOptions): void {
  const { lines, length, ...from } = linesCode(x, options.axis);
  const to = resultLines(y, options.axis);
  const lanes = lanesFor(lines, length);
  const threads = Math.max(64, lanes);
  const sum = options.kind === 'sum';
  lowering.dispatch({
    name: `scan_${options.kind}`,
    body: source,
    inputs: { x },
    outputs: { y },
    params: { ...from.params, ...to.params },
    aliases: { Scalar: scalarOf(x.storage) },
    constants: { WORKGROUP: threads, LANES: lanes, EXCLUSIVE: options.exclusive, REVERSE: options.reverse },
    functions: `${from.functions}
${to.functions}
fn initial() -> Scalar { return Scalar(${sum ? 0 : 1}); }
fn combine(a: Scalar, b: Scalar) -> Scalar { return a ${sum ? '+' : '*'} b; }`,
    workgroups: Math.ceil((lines * lanes) / threads),
    work: { flops: lines * length },
  });
}
