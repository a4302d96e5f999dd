/** What a hash-filled tensor's values are drawn from: a uniform distribution of this mean and standard deviation. */
export interface FillStatistics {
  mean: number;
  std: number;
}

const standard: FillStatistics = { mean: 0, std: 1 };
const SQRT_12 = 3.4641016151377544;

/** `Float16Array`, which TypeScript's library and Node 20 lack. */
const Half = (
  globalThis as { Float16Array?: new (...of: [ArrayBufferLike, number, number]) => { [i: number]: number } }
).Float16Array;

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** 32-bit FNV-1a hash of the text's UTF-8 bytes. */
export function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/**
 * Fills `out` with elements `start`, `start + 1`, … of the tensor called `name`, each a pure function of its name and
 * index, so any part of any tensor can be made on its own. A `Uint16Array` gets the bits of float16 values.
 */
export function hashFillInto<T extends Float32Array | Float64Array | Uint16Array>(
  out: T,
  name: string,
  { mean, std }: FillStatistics = standard,
  start = 0,
): T {
  const offset = Math.imul(fnv1a32(name), 0x9e3779b9) + start;
  const scale = std * SQRT_12;
  const half = out instanceof Uint16Array;
  // Where the browser rounds to float16 itself, gigabytes take seconds less.
  const native = half && Half ? new Half(out.buffer, out.byteOffset, out.length) : undefined;
  const numbers = native ?? out;
  const toBits = half && !native;
  for (let i = 0; i < out.length; i++) {
    let x = (offset + i) | 0;
    x ^= x >>> 16;
    x = Math.imul(x, 0x7feb352d);
    x ^= x >>> 15;
    x = Math.imul(x, 0x846ca68b);
    x ^= x >>> 16;
    const value = mean + scale * ((x >>> 8) / 0x1000000 - 0.5);
    numbers[i] = toBits ? float16Bits(value) : value;
  }
  return out;
}

/** The first `elements` values of the hash-filled tensor `name`, rounded to float32. */
export function hashFill(name: string, elements: number, statistics?: FillStatistics): Float32Array {
  return hashFillInto(new Float32Array(elements), name, statistics);
}

/** Bits of the float16 nearest to `value` (ties to even), rounded once from the full double. */
export function float16Bits(value: number): number {
  scratch[0] = value;
  let bits = scratchBits[0]!;
  // Rounding to float32 first would round twice. Round to odd instead: truncate and keep "inexact" in the last bit.
  if (scratch[0] !== value && Number.isFinite(value) && Number.isFinite(scratch[0])) {
    if (Math.abs(scratch[0]) > Math.abs(value)) bits -= 1;
    bits |= 1;
  }
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  const mantissa = bits & 0x7fffff;
  if (exponent >= 31) return sign | 0x7c00 | (exponent === 143 && mantissa ? 0x200 : 0);
  // A carry out of the mantissa lands in the exponent, which is the right answer up to infinity.
  if (exponent > 0) return sign | roundOff((exponent << 23) | mantissa, 13);
  if (exponent < -10) return sign;
  return sign | roundOff(mantissa | 0x800000, 14 - exponent);
}

function roundOff(value: number, bits: number): number {
  const kept = value >>> bits;
  const rest = value & ((1 << bits) - 1);
  const half = 1 << (bits - 1);
  return kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0);
}
