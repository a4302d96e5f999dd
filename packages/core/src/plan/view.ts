import type { Shape } from '../tensor/shape.ts';
import { sizeOf, stridesOf } from '../tensor/shape.ts';
import type { TensorView } from './plan.ts';

/** Axes from the outermost in memory to the innermost. `[0, 2, 3, 1]` is channels-last for [N, C, H, W]. */
export type Order = readonly number[];

/** Row-major order for a rank. */
export function rowMajor(rank: number): number[] {
  return Array.from({ length: rank }, (_, axis) => axis);
}

/** Channels-last order for a rank: [N, C, …] with C innermost. */
export function channelsLast(rank: number): number[] {
  return [0, ...rowMajor(rank).slice(2), 1];
}

/** Element strides of a dense tensor whose axes lie in memory in `order`. */
export function orderedStrides(shape: Shape, order: Order): number[] {
  const inMemory = stridesOf(order.map((axis) => shape[axis]!));
  const strides = shape.map(() => 0);
  order.forEach((axis, position) => (strides[axis] = inMemory[position]!));
  return strides;
}

/**
 * The memory order of a view that covers its elements without holes or repeats, starting anywhere; `undefined` for
 * any other view. Axes of size 1 fit everywhere and keep their place relative to their neighbours.
 */
export function denseOrder(view: TensorView): number[] | undefined {
  const { shape, strides } = view;
  const order = rowMajor(shape.length);
  if (sizeOf(shape) === 0) return order;
  const real = order.filter((axis) => shape[axis] !== 1).toSorted((a, b) => strides[b]! - strides[a]!);
  let step = 1;
  for (const axis of real.toReversed()) {
    if (strides[axis] !== step) return undefined;
    step *= shape[axis]!;
  }
  let next = 0;
  return order.every((axis) => shape[axis] === 1)
    ? order
    : order.map((axis) => (shape[axis] === 1 ? axis : real[next++]!));
}

/** Whether the view is dense in `order` from the first element of its buffer on. */
export function isDense(view: TensorView, order: Order = rowMajor(view.shape.length)): boolean {
  if (view.offset !== 0) return false;
  const expected = orderedStrides(view.shape, order);
  return view.shape.every((dim, axis) => dim === 1 || view.strides[axis] === expected[axis]);
}

export function transposeView(view: TensorView, permutation: readonly number[]): TensorView {
  return {
    ...view,
    shape: permutation.map((axis) => view.shape[axis]!),
    strides: permutation.map((axis) => view.strides[axis]!),
  };
}

/** Broadcasts to `shape` by ONNX rules; the new axes have stride 0. The caller has checked that it fits. */
export function expandView(view: TensorView, shape: Shape): TensorView {
  const missing = shape.length - view.shape.length;
  return {
    ...view,
    shape,
    strides: shape.map((dim, axis) => {
      const own = axis - missing;
      return own < 0 || (view.shape[own] === 1 && dim !== 1) ? 0 : view.strides[own]!;
    }),
  };
}

/** `steps` may be negative; `starts` are then the first element taken, and `sizes` the number taken. */
export function sliceView(
  view: TensorView,
  starts: readonly number[],
  steps: readonly number[],
  sizes: Shape,
): TensorView {
  return {
    ...view,
    shape: sizes,
    strides: view.strides.map((stride, axis) => stride * steps[axis]!),
    offset: view.offset + view.strides.reduce((sum, stride, axis) => sum + stride * starts[axis]!, 0),
  };
}

/**
 * The same elements in row-major reading order under another shape, where strides can say it; `undefined` where only
 * a copy can.
 */
export function reshapeView(view: TensorView, shape: Shape): TensorView | undefined {
  if (sizeOf(shape) === 0) return { ...view, shape, strides: stridesOf(shape) };
  const from = view.shape
    .map((dim, axis) => ({ dim, stride: view.strides[axis]! }))
    .filter(({ dim }) => dim !== 1);
  const strides = shape.map(() => 0);
  let taken = 0;
  let axis = 0;
  while (taken < from.length || axis < shape.length) {
    if (axis < shape.length && shape[axis] === 1) {
      axis++;
      continue;
    }
    // Grow a group of old axes and a group of new axes until both hold the same number of elements.
    const firstOld = taken;
    const firstNew = axis;
    let old = from[taken++]?.dim;
    let now = shape[axis++];
    if (old === undefined || now === undefined) return undefined;
    while (old !== now) {
      if (old < now) {
        const next = from[taken++];
        if (!next) return undefined;
        old *= next.dim;
      } else {
        const next = shape[axis++];
        if (next === undefined) return undefined;
        now *= next;
      }
    }
    for (let i = firstOld; i + 1 < taken; i++) {
      if (from[i]!.stride !== from[i + 1]!.stride * from[i + 1]!.dim) return undefined;
    }
    let step = from[taken - 1]!.stride;
    for (let i = axis - 1; i >= firstNew; i--) {
      strides[i] = step;
      step *= shape[i]!;
    }
  }
  return { ...view, shape, strides };
}
