import type { TensorRef } from '../onnx/model.ts';
import { toNumbers } from '../onnx/elements.ts';
import { isFloat } from '../tensor/dtype.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import type { Node, Value } from './graph.ts';

/** Elements of the largest tensor that is computed on the CPU. Shape arithmetic stays far below. */
const foldLimit = 65_536;

/** Whether a tensor of that shape may be held and computed on the CPU. */
export function isSmall(shape: Shape): boolean {
  return sizeOf(shape) <= foldLimit;
}

/**
 * A tensor of the file. Integers and single numbers that are at hand become constants: shapes and patterns are made of
 * them. Everything else stays in the file, to be uploaded as it is.
 */
export function weightValue(name: string, ref: TensorRef): Value {
  const value: Value = { name, dtype: ref.dtype, shape: ref.dims, origin: { kind: 'weight', ref } };
  const wanted = sizeOf(ref.dims) === 1 || (!isFloat(ref.dtype) && isIndexType(ref.dtype));
  if (ref.data.kind === 'inline' && wanted) knowWeight(value, ref, ref.data.bytes);
  return value;
}

/** Turns a weight into a constant. */
export function knowWeight(value: Value, ref: TensorRef, bytes: Uint8Array): void {
  value.origin = { kind: 'constant', data: toNumbers(ref.dtype, bytes, sizeOf(ref.dims)) };
}

/** Weights [1, …, S, S] that are added to something or choose something, as attention masks are. */
export function maskWeights(nodes: readonly Node[]): Map<Value, TensorRef> {
  const found = new Map<Value, TensorRef>();
  for (const { op, domain, inputs } of nodes) {
    if (domain !== '' || (op !== 'Add' && op !== 'Where')) continue;
    for (const value of inputs) {
      if (value?.origin.kind !== 'weight' || value.origin.ref.data.kind !== 'range') continue;
      const size = value.shape.at(-1) ?? 0;
      const isSquare = size > 1 && value.shape.at(-2) === size && sizeOf(value.shape) === size * size;
      if (isSquare && isSmall(value.shape)) found.set(value, value.origin.ref);
    }
  }
  return found;
}

/** Types that shapes, indices and masks have; the narrow ones are quantized weights. */
function isIndexType(dtype: TensorRef['dtype']): boolean {
  return dtype === 'int64' || dtype === 'int32' || dtype === 'bool';
}
