import type { Node } from '../graph/graph.ts';
import type { TensorView } from '../plan/plan.ts';
import { sizeOf, stridesOf } from '../tensor/shape.ts';
import type { CpuTensor, OpDefinition } from './op.ts';
import { operand } from './operands.ts';

/**
 * An operator whose results are views of operand 0: one function of views serves to infer, fold and lower it.
 *
 * @param views the results for operand 0 as a view
 */
export function viewing(views: (node: Node, x: TensorView) => TensorView[]): OpDefinition {
  return {
    infer(node) {
      const { dtype, shape } = operand(node, 0);
      return views(node, rowMajorView({ dtype, shape })).map((view) => ({ dtype, shape: view.shape }));
    },
    fold: (node, [x]) => views(node, rowMajorView(x!)).map((view) => readView(x!.data, view)),
    lower(node, lowering) {
      views(node, lowering.view(operand(node, 0))).forEach((view, index) => {
        const output = node.outputs[index];
        if (output) lowering.alias(output, view);
      });
    },
  };
}

/** A row-major view of a buffer that does not exist, to apply functions of views to tensors on the CPU. */
export function rowMajorView({ dtype, shape }: Omit<CpuTensor, 'data'>): TensorView {
  return { buffer: -1, dtype, storage: 'f32', shape, strides: stridesOf(shape), offset: 0 };
}

/** The elements of a view of `data`, row-major. */
export function readView(data: Float64Array, { shape, strides, offset }: TensorView): Float64Array {
  const result = new Float64Array(sizeOf(shape));
  if (result.length === 0) return result;
  const at = shape.map(() => 0);
  let from = offset;
  for (let i = 0; i < result.length; i++) {
    result[i] = data[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++at[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      at[axis] = 0;
    }
  }
  return result;
}

/** Calls back for every index of a shape in row-major order. The array is reused: copy what is to be kept. */
export function forEachIndex(
  shape: readonly number[],
  visit: (at: readonly number[], i: number) => void,
): void {
  const at = shape.map(() => 0);
  const count = sizeOf(shape);
  for (let i = 0; i < count; i++) {
    visit(at, i);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (++at[axis]! < shape[axis]!) break;
      at[axis] = 0;
    }
  }
}
