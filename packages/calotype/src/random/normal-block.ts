const { fround } = Math;
const HALF = 8;

/**
 * Turns 16 uniform values into normal ones in place: Box–Muller on the pairs (i, i + 8).
 *
 * PyTorch computes this with AVX2 and float32 polynomials (Cephes' `logf`, `sinf`, `cosf`), whose last bits differ from
 * correctly rounded functions. The polynomials are evaluated here in the same order and with the same fused
 * multiply-adds, so that the bits agree.
 */
export function fillNormalBlock(values: Float32Array, at: number): void {
  for (let i = at; i < at + HALF; i++) {
    const radius = fround(Math.sqrt(fround(-2 * log(fround(1 - values[i]!)))));
    const angle = fround(TWO_PI * values[i + HALF]!);
    const { sin, cos } = sinCos(angle);
    values[i] = radius * cos;
    values[i + HALF] = radius * sin;
  }
}

const TWO_PI = fround(2 * Math.PI);

/** Fused multiply-add: the product of two float32 is exact in float64, so only the sum is rounded (twice, rarely). */
function fma(a: number, b: number, c: number): number {
  return fround(a * b + c);
}

function horner(coefficients: Float32Array, x: number): number {
  let y = coefficients[0]!;
  for (let i = 1; i < coefficients.length; i++) y = fma(y, x, coefficients[i]!);
  return y;
}

const LOG_POLYNOMIAL = Float32Array.of(
  7.0376836292e-2,
  -1.151461031e-1,
  1.167699874e-1,
  -1.2420140846e-1,
  1.4249322787e-1,
  -1.6668057665e-1,
  2.0000714765e-1,
  -2.4999993993e-1,
  3.3333331174e-1,
);
/** ln 2 in two parts, the first with few enough bits for exact products with an exponent. */
const LN2_HIGH = fround(0.693359375);
const LN2_LOW = fround(-2.1219444e-4);
const SQRT_HALF = fround(Math.SQRT1_2);

const bits = new DataView(new ArrayBuffer(4));

/** ln x for x in (0, 1]. */
function log(x: number): number {
  bits.setFloat32(0, x);
  const word = bits.getUint32(0);
  let exponent = (word >>> 23) - 126;
  bits.setUint32(0, (word & 0x007fffff) | 0x3f000000);
  let m = bits.getFloat32(0);
  // Brings the mantissa to [√½, √2) and then around zero.
  if (m < SQRT_HALF) {
    exponent--;
    m = fround(fround(m - 1) + m);
  } else {
    m = fround(m - 1);
  }
  const z = fround(m * m);
  let y = fma(fround(horner(LOG_POLYNOMIAL, m) * m), z, fround(exponent * LN2_LOW));
  y = fma(z, -0.5, y);
  return fma(exponent, LN2_HIGH, fround(m + y));
}

const SIN_POLYNOMIAL = Float32Array.of(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1);
const COS_POLYNOMIAL = Float32Array.of(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2);
const FOUR_OVER_PI = fround(4 / Math.PI);
/** −π/4 in three parts, for subtracting multiples of it without losing bits. */
const QUARTER_PI = Float32Array.of(-0.78515625, -2.4187564849853515625e-4, -3.774894977445941e-8);

/** Sine and cosine of an angle in [0, 2π). */
function sinCos(angle: number): { sin: number; cos: number } {
  const octant = (Math.trunc(fround(angle * FOUR_OVER_PI)) + 1) & ~1;
  let x = angle;
  for (const part of QUARTER_PI) x = fma(octant, part, x);
  const z = fround(x * x);
  const even = fround(fma(fround(horner(COS_POLYNOMIAL, z) * z), z, fround(z * -0.5)) + 1);
  const odd = fma(fround(horner(SIN_POLYNOMIAL, z) * z), x, x);
  const swapped = (octant & 2) !== 0;
  return {
    sin: (octant & 4) !== 0 ? -(swapped ? even : odd) : swapped ? even : odd,
    cos: ((octant - 2) & 4) === 0 ? -(swapped ? odd : even) : swapped ? odd : even,
  };
}
