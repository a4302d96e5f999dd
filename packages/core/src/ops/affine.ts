import { call, input, type Expr } from '../graph/expr.ts';
import type { Value } from '../graph/graph.ts';
import type { Affine } from '../kernels/affine.ts';
import type { EpilogueViews } from '../kernels/elementwise/epilogue.ts';
import { before } from '../kernels/gemm/epilogue.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { TensorView } from '../plan/plan.ts';
import { expandView, reshapeView } from '../plan/view.ts';
import { equalShapes, sizeOf, type Shape } from '../tensor/shape.ts';

/** Puts `x * scale + bias` before an epilogue; the views broadcast to the output's shape. */
export function affineEpilogue(
  scale: TensorView | undefined,
  bias: TensorView | undefined,
  epilogue: EpilogueViews | undefined,
): EpilogueViews | undefined {
  const operands: TensorView[] = [];
  let result: Expr = input(0);
  for (const [fn, view] of [
    ['mul', scale],
    ['add', bias],
  ] as const) {
    if (!view) continue;
    operands.push(view);
    result = call(fn, [result, input(operands.length)]);
  }
  return operands.length > 0 ? before(result, operands, epilogue) : epilogue;
}

/** The view of a tensor [channels] that broadcasts along the channels of [N, C, …]. */
export function alongChannels(view: TensorView, rank: number): TensorView {
  return reshapeView(view, [sizeOf(view.shape), ...Array.from({ length: rank - 2 }, () => 1)])!;
}

/** The operands as a kernel reads them by column, if they are nothing but one number for each element of a row. */
export function rowAffine(
  lowering: Lowering,
  scale: Value | undefined,
  bias: Value | undefined,
  row: Shape,
): Affine | undefined {
  const isRow = (value: Value | undefined): boolean => {
    if (!value) return true;
    const shape = value.shape.slice(Math.max(0, value.shape.length - row.length));
    return sizeOf(value.shape) === sizeOf(row) && equalShapes(shape, row);
  };
  if (!isRow(scale) || !isRow(bias)) return undefined;
  return { scale: scale && lowering.dense(scale), bias: bias && lowering.dense(bias) };
}

/** Views for an epilogue, broadcast to `shape` already so that a mismatch shows here. */
export function broadcastViews(
  lowering: Lowering,
  values: readonly (Value | undefined)[],
  shape: Shape,
): (TensorView | undefined)[] {
  return values.map((value) => value && expandView(lowering.view(value), shape));
}
