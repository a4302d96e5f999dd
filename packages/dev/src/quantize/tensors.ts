import {
  bytesOf,
  quantizeBlock,
  readTensor,
  toFloat16,
  toNumbers,
  type TensorRef,
} from '@calotype/core/tools';

/** Bits of an integer. */
export type Bits = 4 | 8;

/** A weight of a file, and the dtype that its layer has it in and scales get. */
export interface Weight {
  ref: TensorRef;
  dtype: 'float16' | 'float32';
}

/** A weight in integers and scales, as its operator wants them. */
export interface QuantizedTensor {
  integers: Uint8Array<ArrayBuffer>;
  scales: Uint8Array<ArrayBuffer>;
}

/** Elements read at a time. */
const CHUNK = 2 ** 22;

/** Elements `start … start + count - 1` of a weight. */
async function numbers(ref: TensorRef, start: number, count: number): Promise<Float64Array> {
  const { data, dtype } = ref;
  const size = bytesOf(dtype, 1);
  const bytes =
    data.kind === 'range'
      ? await data.source.read(data.offset + start * size, count * size)
      : (await readTensor(ref)).subarray(start * size, (start + count) * size);
  return toNumbers(dtype, bytes, count);
}

/** Integers two to a byte, the first in the low half, or one. */
class Integers {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #bits: Bits;
  readonly #signed: boolean;

  constructor(count: number, bits: Bits, signed: boolean) {
    this.bytes = new Uint8Array(Math.ceil((count * bits) / 8));
    this.#bits = bits;
    this.#signed = signed;
  }

  /** @param q unsigned */
  set(index: number, q: number): void {
    const value = this.#signed ? q - 2 ** (this.#bits - 1) : q;
    if (this.#bits === 8) this.bytes[index] = value & 255;
    else this.bytes[index >> 1]! |= (value & 15) << (4 * (index & 1));
  }
}

function scaleWriter(
  count: number,
  dtype: string,
): { bytes: Uint8Array<ArrayBuffer>; set(i: number, v: number): void } {
  const array = dtype === 'float16' ? new Uint16Array(count) : new Float32Array(count);
  return {
    bytes: new Uint8Array(array.buffer),
    set: (i, v) => (array[i] = dtype === 'float16' ? toFloat16(v) : v),
  };
}

/**
 * A matrix as MatMulNBits wants it: columns one after the other, each in blocks along the sums, unsigned; what hangs over
 * the end is the zero point.
 *
 * @param weight [K, N], or [N, K] where `transposed`
 */
export async function quantizeMatrix(
  { ref, dtype }: Weight,
  bits: Bits,
  block: number,
  transposed: boolean,
): Promise<QuantizedTensor> {
  const [depth, columns] = transposed ? [ref.dims[1]!, ref.dims[0]!] : [ref.dims[0]!, ref.dims[1]!];
  const blocks = Math.ceil(depth / block);
  const integers = new Integers(columns * blocks * block, bits, false);
  const scales = scaleWriter(columns * blocks, dtype);
  const put = (column: number, b: number, weights: Float64Array): void => {
    const quantized = quantizeBlock(weights, bits);
    scales.set(column * blocks + b, quantized.scale);
    for (let i = 0; i < block; i++) {
      integers.set((column * blocks + b) * block + i, quantized.integers[i] ?? 2 ** (bits - 1));
    }
  };
  if (transposed) {
    const rows = Math.max(1, Math.floor(CHUNK / depth));
    for (let row = 0; row < columns; row += rows) {
      const count = Math.min(rows, columns - row);
      const part = await numbers(ref, row * depth, count * depth);
      for (let r = 0; r < count; r++) {
        for (let b = 0; b < blocks; b++) {
          put(row + r, b, part.subarray(r * depth + b * block, r * depth + Math.min(depth, (b + 1) * block)));
        }
      }
    }
  } else {
    for (let b = 0; b < blocks; b++) {
      const height = Math.min(block, depth - b * block);
      const part = await numbers(ref, b * block * columns, height * columns);
      for (let n = 0; n < columns; n++) {
        put(
          n,
          b,
          Float64Array.from({ length: height }, (_, i) => part[i * columns + n]!),
        );
      }
    }
  }
  return { integers: integers.bytes, scales: scales.bytes };
}

/** A tensor [O, I, …] as DequantizeLinear wants it: in its own order, signed, with blocks along axis 1. */
export async function quantizeAlongSecondAxis(
  { ref, dtype }: Weight,
  bits: Bits,
  block: number,
): Promise<QuantizedTensor> {
  const [outer, inputs, ...rest] = ref.dims as [number, number, ...number[]];
  const taps = rest.reduce((product, dim) => product * dim, 1);
  const blocks = inputs / block;
  const integers = new Integers(outer * inputs * taps, bits, true);
  const scales = scaleWriter(outer * blocks * taps, dtype);
  const row = inputs * taps;
  const rows = Math.max(1, Math.floor(CHUNK / row));
  for (let first = 0; first < outer; first += rows) {
    const count = Math.min(rows, outer - first);
    const part = await numbers(ref, first * row, count * row);
    for (let r = 0; r < count; r++) {
      for (let b = 0; b < blocks; b++) {
        for (let tap = 0; tap < taps; tap++) {
          const at = (i: number): number => r * row + (b * block + i) * taps + tap;
          const quantized = quantizeBlock(
            Float64Array.from({ length: block }, (_, i) => part[at(i)]!),
            bits,
          );
          scales.set(((first + r) * blocks + b) * taps + tap, quantized.scale);
          quantized.integers.forEach((q, i) => integers.set(first * row + at(i), q));
        }
      }
    }
  }
  return { integers: integers.bytes, scales: scales.bytes };
}
