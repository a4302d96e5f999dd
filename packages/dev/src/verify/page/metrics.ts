/** How far a result is from its reference. */
export interface Difference {
  maxAbs: number;
  relL2: number;
}

/** Compares element by element. NaN anywhere makes both figures NaN, which passes no bar. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): Difference {
  if (actual.length !== expected.length) {
    throw new Error(`${actual.length} elements where the reference has ${expected.length}.`);
  }
  let maxAbs = 0;
  let error = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    const [value, reference] = [actual[i]!, expected[i]!];
    // Equal infinities are no distance apart.
    const distance = value === reference ? 0 : Math.abs(value - reference);
    if (!(distance <= maxAbs)) maxAbs = distance;
    error += distance * distance;
    norm += reference * reference;
  }
  // A reference of zeros has no scale of its own.
  return { maxAbs, relL2: Math.sqrt(error / (norm || 1)) };
}

/** The worse of two figure by figure. */
export function worse(a: Difference, b: Difference): Difference {
  const larger = (x: number, y: number): number => (x > y || Number.isNaN(x) ? x : y);
  return { maxAbs: larger(a.maxAbs, b.maxAbs), relL2: larger(a.relL2, b.relL2) };
}

/**
 * Of all values that round to the float16 values `rounded`, those nearest to `expected`: what is left of the difference
 * is not the rounding's.
 */
export function beforeRounding(
  rounded: ArrayLike<number>,
  expected: ArrayLike<number>,
): Float32Array<ArrayBuffer> {
  return Float32Array.from(rounded, (value, i) => {
    // 11 bits of mantissa; below 2^-14 the steps stay as they are.
    const exponent = Math.max(-14, Math.floor(Math.log2(Math.abs(value))));
    const half = 2 ** (exponent - 11);
    return Math.min(value + half, Math.max(value - half, expected[i]!));
  });
}
