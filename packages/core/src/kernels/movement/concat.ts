import type { DispatchSpec } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { denseOrder, orderedStrides } from '../../plan/view.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { operandReaders } from '../elementwise/operands.ts';
import { scalarOf, storageBits, u32, type Param } from '../shader.ts';

const WORKGROUP = 256;

/**
 * Joins tensors along an axis in one dispatch. Every thread writes four neighbouring elements of the output, whichever
 * operands they come from.
 *
 * @param operands any views without empty ones, no more than a shader stage may bind beside the output
 * @param output dense in some order
 */
export function concat(operands: readonly TensorView[], axis: number, output: TensorView): DispatchSpec {
  const order = denseOrder(output)!;
  const type = scalarOf(output.storage);
  const elements = sizeOf(output.shape);
  const inner = order.slice(order.indexOf(axis) + 1).reduce((size, a) => size * output.shape[a]!, 1);
  const params: Record<string, Param> = {
    elements: u32(elements),
    inner: u32(inner),
    dim: u32(output.shape[axis]!),
  };
  const inputs: Record<string, TensorView> = {};
  const asOutput: Record<string, TensorView> = {};
  const parts: string[] = [];
  let start = 0;
  operands.forEach((view, k) => {
    const end = start + view.shape[axis]!;
    params[`start${k}`] = u32(start);
    params[`end${k}`] = u32(end);
    inputs[`x${k}`] = view;
    // The operand as if it had the whole output's shape; only its own part of it is ever used.
    asOutput[`x${k}`] = {
      ...view,
      shape: output.shape,
      offset: view.offset - start * view.strides[axis]!,
    };
    parts.push(`  {
    let own = (at >= vec4u(params.start${k})) & (at < vec4u(params.end${k}));
    if (any(own)) { v = select(v, vec4<${type}>(x${k}_at(i)), own); }
  }`);
    start = end;
  });
  const readers = operandReaders(output, asOutput, 'c_');
  return {
    name: `concat_${operands.length}_${output.storage}`,
    inputs,
    outputs: { y: output },
    params: { ...params, ...readers.params },
    constants: { WORKGROUP },
    functions: readers.functions,
    body: `
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + lane);
  if (i >= params.elements) { return; }
  let at = ((vec4u(i) + vec4u(0, 1, 2, 3)) / params.inner) % params.dim;
  var v = vec4<${type}>();
${parts.join('\n')}
  y_store4(i, v);
}`,
    workgroups: Math.ceil(elements / (4 * WORKGROUP)),
  };
}

/**
 * The same in a dispatch for each operand, whose pipeline serves any number of operands: for processors, which compile one of
 * nine for 0.2 s. `undefined` where an operand's runs in the output are not whole vec4s.
 */
export function concatPieces(
  operands: readonly TensorView[],
  axis: number,
  output: TensorView,
): DispatchSpec[] | undefined {
  const order = denseOrder(output)!;
  const inner = order.slice(order.indexOf(axis) + 1).reduce((size, a) => size * output.shape[a]!, 1);
  if (operands.some((view) => (view.shape[axis]! * inner) % 4 !== 0)) return undefined;
  let start = 0;
  return operands.map((x) => {
    const elements = sizeOf(x.shape);
    const piece = { ...output, shape: x.shape, strides: orderedStrides(x.shape, order) };
    const readers = operandReaders(piece, { x }, 'c_');
    const params = {
      elements: u32(elements),
      run: u32(x.shape[axis]! * inner),
      row: u32(output.shape[axis]! * inner),
      start: u32(start * inner),
    };
    start += x.shape[axis]!;
    return {
      name: `concat_piece_${output.storage}`,
      inputs: { x },
      outputs: { y: output },
      params: { ...params, ...readers.params },
      constants: { WORKGROUP },
      functions: readers.functions,
      body: `
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + lane);
  if (i >= params.elements) { return; }
  y_store4(i / params.run * params.row + params.start + i % params.run, x_at(i));
}`,
      workgroups: Math.ceil(elements / (4 * WORKGROUP)),
      work: { bytes: (elements * storageBits[output.storage]) / 4 },
    };
  });
}
