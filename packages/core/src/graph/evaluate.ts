import { assertNever } from '../errors.ts';
import type { CpuTensor } from '../ops/op.ts';
import { scalarTypeOf } from '../ops/scalar-types.ts';
import { type Shape, sizeOf, stridesOf } from '../tensor/shape.ts';
import type { Expr, ScalarType } from './expr.ts';
import { scalarFunctions } from './scalar-functions.ts';

/**
 * Computes an elementwise operator on the CPU. Results of float operations are rounded to f32: what is known to later
 * operators must not depend on where it was computed (`Floor` of a scaled size).
 *
 * @param inputs those that are there; they broadcast to `shape` by ONNX rules
 */
export function evaluate(expr: Expr, inputs: readonly CpuTensor[], shape: Shape): Float64Array<ArrayBuffer> {
  const elements = new Float64Array(inputs.length);
  const compute = compile(expr, inputs, elements);
  const result = new Float64Array(sizeOf(shape));
  const strides = inputs.map((tensor) => broadcastStrides(tensor.shape, shape));
  const index = new Array<number>(shape.length).fill(0);
  const at = inputs.map(() => 0);
  for (let i = 0; i < result.length; i++) {
    for (let k = 0; k < at.length; k++) elements[k] = inputs[k]!.data[at[k]!]!;
    result[i] = compute();
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      for (let k = 0; k < at.length; k++) at[k]! += strides[k]![axis] ?? 0;
      if (index[axis]! < shape[axis]!) break;
      for (let k = 0; k < at.length; k++) at[k]! -= (strides[k]![axis] ?? 0) * shape[axis]!;
      index[axis] = 0;
    }
  }
  return result;
}

/** A function that computes the expression from what is in `elements`. */
function compile(expr: Expr, inputs: readonly CpuTensor[], elements: Float64Array): () => number {
  switch (expr.kind) {
    case 'const':
      return () => expr.value;
    case 'input': {
      const { index } = expr;
      const from = scalarTypeOf(inputs[index]!.dtype);
      const convert = conversion(from, expr.type);
      return convert ? () => convert(elements[index]!) : () => elements[index]!;
    }
    case 'call': {
      const js = scalarFunctions[expr.fn]?.js;
      if (!js) throw new Error(`Internal error: no scalar function '${expr.fn}'`);
      const [a, b, c] = expr.args.map((arg) => compile(arg, inputs, elements));
      const compute = a
        ? b
          ? c
            ? () => js(a(), b(), c())
            : () => js(a(), b())
          : () => js(a())
        : () => js();
      return expr.type === 'f32' ? () => Math.fround(compute()) : compute;
    }
    default:
      return assertNever(expr);
  }
}

/** `undefined` where the number stays as it is. */
function conversion(from: ScalarType, to: ScalarType): ((x: number) => number) | undefined {
  if (from === to || from === 'bool' || to === 'f32') return undefined;
  if (to === 'bool') return (x) => Number(x !== 0);
  return from === 'f32' ? Math.trunc : undefined;
}

/** Element strides that read a tensor of shape `from` as one of shape `to`; 0 along broadcast axes. */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const own = stridesOf(from);
  const missing = to.length - from.length;
  return to.map((_, axis) => (axis < missing || from[axis - missing] === 1 ? 0 : own[axis - missing]!));
}
