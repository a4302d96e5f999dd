import type { Expr } from '../../graph/expr.ts';
import type { TensorView } from '../../plan/plan.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { DispatchSpec } from '../../plan/lowering.ts';
import { scalarOf, u32 } from '../shader.ts';
import { operandReaders } from './operands.ts';
import { exprToWgsl, toStorage } from './wgsl-expr.ts';

const WORKGROUP = 256;

/**
 * One kernel for a whole expression: every thread writes four neighbouring elements of the output, in the output's
 * memory order. With the identity it copies between any two views and storages.
 *
 * @param output dense in some order; any number of elements (buffers are padded, so the last group may overhang)
 */
export function elementwise(
  name: string,
  expr: Expr,
  operands: readonly TensorView[],
  output: TensorView,
): DispatchSpec {
  const inputs = Object.fromEntries(operands.map((view, k) => [`x${k}`, view]));
  const readers = operandReaders(output, inputs, 'e_');
  const code = exprToWgsl(expr, (index) => ({
    text: `x${index}_at(i)`,
    type: scalarOf(operands[index]!.storage),
  }));
  const elements = sizeOf(output.shape);
  return {
    name,
    inputs,
    outputs: { y: output },
    params: { elements: u32(elements), ...readers.params },
    constants: { WORKGROUP },
    functions: `${SPECIAL_FLOATS}\n${readers.functions}\n${code.helpers}`,
    body: `
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + lane);
  if (i >= params.elements) { return; }
  y_store4(i, ${toStorage(code.text, expr.type, output.storage)});
}`,
    workgroups: Math.ceil(elements / (4 * WORKGROUP)),
    work: { flops: elements * countCalls(expr) },
  };
}

/** NaN and infinities may not be WGSL constants; these hide them from constant evaluation. */
export const SPECIAL_FLOATS = `
fn nan_f32() -> f32 { var bits = 0x7fc00000u; return bitcast<f32>(bits); }
fn inf_f32() -> f32 { var bits = 0x7f800000u; return bitcast<f32>(bits); }`;

function countCalls(expr: Expr): number {
  return expr.kind === 'call' ? 1 + expr.args.reduce((sum, arg) => sum + countCalls(arg), 0) : 0;
}
