/** One noise level in the terms the exponential integrators use. */
export interface Level {
  readonly alpha: number;
  readonly sigma: number;
  /** Half the logarithm of the signal-to-noise ratio: ln(α / σ). Infinite at no noise. */
  readonly lambda: number;
}

/** Level of a variance-preserving diffusion, or of a flow, from its σ. */
export function level(sigma: number, flow: boolean): Level {
  if (flow) return { alpha: 1 - sigma, sigma, lambda: Math.log(1 - sigma) - Math.log(sigma) };
  const alpha = 1 / Math.sqrt(sigma ** 2 + 1);
  // The logarithm of α cancels: what is left is exact also where σ is large.
  return { alpha, sigma: sigma * alpha, lambda: -Math.log(sigma) };
}

/** Solves a small dense system by elimination with row exchange. */
export function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i]!]);
  const size = rows.length;
  for (let k = 0; k < size; k++) {
    let pivot = k;
    for (let i = k + 1; i < size; i++) if (Math.abs(rows[i]![k]!) > Math.abs(rows[pivot]![k]!)) pivot = i;
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = k + 1; i < size; i++) {
      const factor = rows[i]![k]! / rows[k]![k]!;
      for (let j = k; j <= size; j++) rows[i]![j]! -= factor * rows[k]![j]!;
    }
  }
  const x = Array.from({ length: size }, () => 0);
  for (let k = size - 1; k >= 0; k--) {
    let rest = rows[k]![size]!;
    for (let j = k + 1; j < size; j++) rest -= rows[k]![j]! * x[j]!;
    x[k] = rest / rows[k]![k]!;
  }
  return x;
}
