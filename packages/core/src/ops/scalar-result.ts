import type { Node } from '../graph/graph.ts';
import { elementwise } from '../kernels/elementwise/elementwise.ts';
import type { EpilogueViews } from '../kernels/elementwise/epilogue.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { TensorView } from '../plan/plan.ts';
import { rowMajor, transposeView, type Order } from '../plan/view.ts';
import type { Shape } from '../tensor/shape.ts';

/**
 * Memory for output 0 of a node whose kernel stores single elements and so cannot run an epilogue, which works on
 * fours: what `emit` has written is finished by an elementwise dispatch where there is an epilogue.
 */
export function scalarResult(
  node: Node,
  lowering: Lowering,
  order: Order,
  emit: (y: TensorView) => void,
  epilogue: EpilogueViews | undefined = lowering.epilogue(node),
): void {
  const value = node.outputs[0]!;
  if (!epilogue) {
    emit(lowering.allocate(value, { order, scalarStores: true }));
    return;
  }
  const raw = orderedScratch(lowering, 'raw', value.shape, order);
  emit(raw);
  const y = lowering.allocate(value, { order });
  lowering.dispatch(elementwise('epilogue', epilogue.expr, [raw, ...epilogue.operands], y));
}

/** f32 scratch memory for `shape`, dense in `order`. */
export function orderedScratch(lowering: Lowering, label: string, shape: Shape, order: Order): TensorView {
  const inMemory = lowering.scratch(
    label,
    order.map((axis) => shape[axis]!),
    'f32',
  );
  const inverse = rowMajor(shape.length).map((axis) => order.indexOf(axis));
  return transposeView(inMemory, inverse);
}
