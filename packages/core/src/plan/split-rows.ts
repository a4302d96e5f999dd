import type { TensorRef } from '../onnx/model.ts';
import { bitsOf } from '../tensor/dtype.ts';

const wholes = new WeakMap<TensorRef, TensorRef>();

/** The constant that `ref` is a part of. */
export function wholeOf(ref: TensorRef): TensorRef | undefined {
  return wholes.get(ref);
}

/**
 * A constant as several that follow each other along its first axis, of at most `largest` bytes and a multiple of `step`
 * rows each but the last. None where so few rows do not fit, or its bytes are at hand.
 */
export function splitRows(ref: TensorRef, largest: number, step: number): TensorRef[] {
  const { data, dims, dtype, name } = ref;
  const [rows = 0, ...rest] = dims;
  const rowBytes = (rest.reduce((product, dim) => product * dim, 1) * bitsOf[dtype]) / 8;
  const height = Math.floor(largest / rowBytes / step) * step;
  if ((data.kind !== 'range' && data.kind !== 'missing') || !Number.isInteger(rowBytes) || height === 0)
    return [];
  const parts: TensorRef[] = [];
  for (let first = 0; first < rows; first += height) {
    const own = Math.min(height, rows - first);
    const part: TensorRef = {
      name: `${name}[${first}:${first + own}]`,
      dtype,
      dims: [own, ...rest],
      data: { ...data, offset: data.offset + first * rowBytes, length: own * rowBytes },
    };
    wholes.set(part, ref);
    parts.push(part);
  }
  return parts;
}
