// IEEE half precision by bit arithmetic, rounding to nearest, ties to even. `Float16Array` is not in every browser yet.

const scratch = new DataView(new ArrayBuffer(8));
const smallestNormal = 2 ** -14;
/** Halfway between the largest half, 65504, and the next power of two: rounds to infinity, as all above. */
const overflow = 65520;
/** Adding and subtracting it rounds a double below 2^51 to an integer, ties to even. */
const toInteger = 2 ** 52;

/** Bits of the half nearest to `value`, rounded once from the full double. NaN gives 0x7e00. */
export function toFloat16(value: number): number {
  if (value !== value) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= overflow) return sign | 0x7c00;
  // A mantissa that rounds up to 1024 or 2048 carries into the exponent bits, which is the right half.
  if (magnitude < smallestNormal) return sign | (magnitude * 2 ** 24 + toInteger - toInteger);
  scratch.setFloat64(0, magnitude);
  const exponent = (scratch.getUint32(0) >>> 20) - 1023;
  const mantissa = magnitude * 2 ** (10 - exponent) + toInteger - toInteger;
  return sign | (((exponent + 14) << 10) + mantissa);
}

/** The number that a half stands for. Exact. */
export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

/** Halves nearest to `values`. Writes into `into` when given, which must be as long. NaN gives 0x7e00 or 0xfe00. */
export function toFloat16Array(
  values: Float32Array,
  into: Uint16Array<ArrayBuffer> = new Uint16Array(values.length),
): Uint16Array<ArrayBuffer> {
  checkLength(values.length, into.length);
  const source = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < source.length; i++) {
    const bits = source[i]!;
    const sign = (bits >>> 16) & 0x8000;
    const magnitude = bits & 0x7fffffff;
    let half: number;
    if (magnitude >= 0x477ff000) {
      half = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
    } else if (magnitude >= 0x38800000) {
      // Rebias the exponent by 112, drop 13 bits; 0xfff plus the last kept bit rounds ties to even.
      half = (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13;
    } else if (magnitude > 0x33000000) {
      const shift = 126 - (magnitude >>> 23);
      const mantissa = (magnitude & 0x7fffff) | 0x800000;
      half = (mantissa + (1 << (shift - 1)) - 1 + ((mantissa >>> shift) & 1)) >>> shift;
    } else {
      half = 0;
    }
    into[i] = sign | half;
  }
  return into;
}

/** Numbers that `halves` stand for. Writes into `into` when given, which must be as long. Exact. */
export function fromFloat16Array(
  halves: Uint16Array,
  into: Float32Array<ArrayBuffer> = new Float32Array(halves.length),
): Float32Array<ArrayBuffer> {
  checkLength(halves.length, into.length);
  const target = new Uint32Array(into.buffer, into.byteOffset, into.length);
  for (let i = 0; i < halves.length; i++) {
    const bits = halves[i]!;
    const magnitude = bits & 0x7fff;
    const sign = (bits & 0x8000) << 16;
    if (magnitude >= 0x7c00) target[i] = sign | 0x7f800000 | ((magnitude & 0x3ff) << 13);
    else if (magnitude >= 0x400) target[i] = sign | ((magnitude << 13) + 0x38000000);
    else into[i] = (sign === 0 ? magnitude : -magnitude) * 2 ** -24;
  }
  return into;
}

function checkLength(from: number, into: number): void {
  if (from !== into) throw new RangeError(`Internal error: ${from} elements into an array of ${into}.`);
}
