import type { DataType } from '../tensor/dtype.ts';
import type { Storage, TensorView } from './plan.ts';

/** A tensor of small integers and what they stand for: `(x - zero) · scale`. */
export interface Quantized {
  /** The integers, in the tensor's own shape. */
  x: TensorView;
  /** Of x's rank. Along an axis that shares a scale it has stride 0; along `block.axis` one element for each block. */
  scale: TensorView;
  /** A tensor like `scale`, or one number for all. */
  zero: TensorView | number;
  /** Neighbours along an axis that share a scale. */
  block?: { axis: number; size: number };
}

/** How many neighbours along an axis have scale and zero point in common. */
export function sharedAlong({ scale, zero, block }: Quantized, axis: number): number {
  const shared = (view: TensorView): number => {
    if (view.strides[axis] === 0) return Infinity;
    return block?.axis === axis ? block.size : 1;
  };
  return Math.min(shared(scale), typeof zero === 'number' ? Infinity : shared(zero));
}

const names: Partial<Record<Storage, DataType>> = { i4: 'int4', u4: 'uint4', i8: 'int8', u8: 'uint8' };

/**
 * The type of the integers: as they lie in a file (a byte of MatMulNBits holds two), or, where they are made at load as those
 * of merged weights are, of 32 bits each until they are packed, what ONNX calls them.
 */
export function integerType({ x }: Quantized): DataType {
  return names[x.storage] ?? x.dtype;
}

/** `uint4 in blocks of 32`, `int8 by channel`, `int8`. */
export function describeQuantized(from: Quantized): string {
  const { scale, block } = from;
  const name = integerType(from);
  if (block) return `${name} in blocks of ${block.size}`;
  return scale.strides.every((stride) => stride === 0) ? name : `${name} by channel`;
}
