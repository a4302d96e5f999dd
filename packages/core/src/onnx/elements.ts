import { bytesOf, type DataType } from '../tensor/dtype.ts';
import { fromFloat16 } from '../tensor/float16.ts';
import { ShapeError } from '../errors.ts';

const readers: Readonly<Record<DataType, (view: DataView, index: number) => number>> = {
  float32: (view, i) => view.getFloat32(i * 4, true),
  float16: (view, i) => fromFloat16(view.getUint16(i * 2, true)),
  bfloat16: (view, i) => fromBfloat16(view.getUint16(i * 2, true)),
  float64: (view, i) => view.getFloat64(i * 8, true),
  int64: (view, i) => Number(view.getBigInt64(i * 8, true)),
  int32: (view, i) => view.getInt32(i * 4, true),
  int16: (view, i) => view.getInt16(i * 2, true),
  int8: (view, i) => view.getInt8(i),
  int4: (view, i) => (nibble(view, i) ^ 8) - 8,
  uint64: (view, i) => Number(view.getBigUint64(i * 8, true)),
  uint32: (view, i) => view.getUint32(i * 4, true),
  uint16: (view, i) => view.getUint16(i * 2, true),
  uint8: (view, i) => view.getUint8(i),
  uint4: nibble,
  bool: (view, i) => (view.getUint8(i) === 0 ? 0 : 1),
  string: () => NaN,
};

/**
 * Elements in ONNX's raw layout as numbers: bool as 0 and 1, 64-bit integers beyond 2^53 rounded to the nearest
 * double. `bytes` may lie at any alignment. Throws `ShapeError` for strings and for fewer bytes than `count` needs.
 */
export function toNumbers(dtype: DataType, bytes: Uint8Array, count: number): Float64Array<ArrayBuffer> {
  const needed = bytesOf(dtype, count);
  if (dtype === 'string' || bytes.length < needed) {
    const expected = dtype === 'string' ? 'a numeric type' : `${needed} bytes`;
    throw new ShapeError(`${count} elements of ${dtype}`, { expected, actual: `${bytes.length} bytes` });
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const read = readers[dtype];
  const numbers = new Float64Array(count);
  for (let i = 0; i < count; i++) numbers[i] = read(view, i);
  return numbers;
}

/** The first element of a pair is the low half of its byte. */
function nibble(view: DataView, index: number): number {
  return (view.getUint8(index >> 1) >>> (4 * (index & 1))) & 15;
}

const word = new DataView(new ArrayBuffer(4));

/** A bfloat16 is the upper half of a float32. */
function fromBfloat16(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}
