import type { Node } from '../graph/graph.ts';
import { elementwise } from '../kernels/elementwise/elementwise.ts';
import type { EpilogueViews } from '../kernels/elementwise/epilogue.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { TensorView } from '../plan/plan.ts';
import { rowMajor, transposeView, type Order } from '../plan/view.ts';
import type { Shape } from '../tensor/shape.ts';

/** What a kernel can do about its result. */
export interface ResultOptions {
  /** Memory order of the result. */
  order: Order;
  /** Whether the kernel stores groups of four elements and so can run an epilogue on them; else single elements. */
  vector: boolean;
  /** Storage buffers that it binds besides the epilogue's operands, the result included. */
  bindings: number;
  /** The node's own by default. */
  epilogue?: EpilogueViews | undefined;
}

/**
 * Makes memory for output 0 of a node and has a kernel fill it. Where the kernel cannot run the epilogue itself,
 * an elementwise dispatch does so afterwards.
 *
 * @param emit emits the kernel; what it is given as epilogue is the kernel's to apply
 */
export function kernelResult(
  node: Node,
  lowering: Lowering,
  { order, vector, bindings, epilogue = lowering.epilogue(node) }: ResultOptions,
  emit: (y: TensorView, epilogue: EpilogueViews | undefined) => void,
): void {
  const value = node.outputs[0]!;
  const most = lowering.capabilities.limits.maxStorageBuffersPerShaderStage;
  if (!epilogue || (vector && bindings + epilogue.operands.length <= most)) {
    emit(lowering.allocate(value, { order, scalarStores: !vector }), epilogue);
    return;
  }
  const raw = orderedScratch(lowering, 'raw', value.shape, order);
  emit(raw, undefined);
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
