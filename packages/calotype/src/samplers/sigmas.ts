import { assertNever } from './assert-never.ts';
import type { ConfigReader } from './config.ts';
import type { NoiseSchedule } from './noise-schedule.ts';
import { linspace } from './spacing.ts';

/** A way to place noise levels that does not follow the training timesteps. */
export type SigmaSpacing = 'karras' | 'exponential' | 'beta' | 'lu' | 'flow' | undefined;

/** Reads the `use_…_sigmas` switches; at most one may be set. */
export function sigmaSpacing(
  config: ConfigReader,
  supported: readonly NonNullable<SigmaSpacing>[],
): SigmaSpacing {
  const fields = {
    karras: 'use_karras_sigmas',
    exponential: 'use_exponential_sigmas',
    beta: 'use_beta_sigmas',
    lu: 'use_lu_lambdas',
    flow: 'use_flow_sigmas',
  } as const;
  const kinds = ['karras', 'exponential', 'beta', 'lu', 'flow'] as const;
  const chosen = kinds.filter((kind) => supported.includes(kind) && config.boolean(fields[kind], false));
  if (chosen.length > 1) {
    config.fail(
      fields[chosen[1]!],
      `cannot be combined with ${fields[chosen[0]!]}; set one of them to false.`,
    );
  }
  return chosen[0];
}

/** Noise levels at (possibly fractional) timesteps, by linear interpolation in σ. */
export function sigmasAt(schedule: NoiseSchedule, timesteps: Float64Array): Float64Array {
  const { sigmas } = schedule;
  const end = sigmas.length - 1;
  return timesteps.map((t) => {
    if (t <= 0) return sigmas[0]!;
    if (t >= end) return sigmas[end]!;
    const below = Math.floor(t);
    return sigmas[below]! + (sigmas[below + 1]! - sigmas[below]!) * (t - below);
  });
}

/** The training timestep at which noise has a given level, by interpolation in ln σ. */
export function timestepOf(schedule: NoiseSchedule, sigma: number): number {
  const { logSigmas } = schedule;
  const target = Math.log(Math.max(sigma, 1e-10));
  // Levels rise with t, so the last one not above the target is the lower neighbour.
  let low = 0;
  for (let i = 0; i < logSigmas.length; i++) if (target >= logSigmas[i]!) low = i;
  low = Math.min(low, logSigmas.length - 2);
  const weight = (logSigmas[low]! - target) / (logSigmas[low]! - logSigmas[low + 1]!);
  const clipped = Math.min(1, Math.max(0, weight));
  return (1 - clipped) * low + clipped * (low + 1);
}

/**
 * Places `count` noise levels between the ends of a given list.
 * - `karras`: even in σ^(1/7) (Karras et al., arXiv 2206.00364, equation 5)
 * - `exponential`: even in ln σ
 * - `beta`: at quantiles of a Beta(0.6, 0.6) distribution (Lee et al., arXiv 2407.12173)
 * - `lu`: even in λ = −ln σ (Lu et al., arXiv 2206.00927)
 */
export function placeSigmas(
  kind: 'karras' | 'exponential' | 'beta' | 'lu',
  highest: number,
  lowest: number,
  count: number,
): Float64Array {
  switch (kind) {
    case 'karras': {
      const rho = 7;
      const high = highest ** (1 / rho);
      const low = lowest ** (1 / rho);
      return linspace(0, 1, count).map((ramp) => (high + ramp * (low - high)) ** rho);
    }
    case 'exponential':
    case 'lu':
      return linspace(Math.log(highest), Math.log(lowest), count).map(Math.exp);
    case 'beta':
      return linspace(0, 1, count).map(
        (ramp) => lowest + betaQuantile(1 - ramp, 0.6, 0.6) * (highest - lowest),
      );
    default:
      return assertNever(kind);
  }
}

/** Quantile of the Beta(a, b) distribution, by bisection of its distribution function. */
export function betaQuantile(p: number, a: number, b: number): number {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  let low = 0;
  let high = 1;
  // 80 halvings reach the smallest differences a float64 near the ends can tell.
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2;
    if (regularizedBeta(middle, a, b) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Regularised incomplete beta function, by its continued fraction (DLMF 8.17.22). */
function regularizedBeta(x: number, a: number, b: number): number {
  // The fraction converges fast only left of the mean; the other side follows by symmetry.
  if (x > (a + 1) / (a + b + 2)) return 1 - regularizedBeta(1 - x, b, a);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) + lnGamma(a + b) - lnGamma(a) - lnGamma(b)) / a;
  const numerator = (n: number): number => {
    const m = Math.floor(n / 2);
    return n % 2 === 0
      ? (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
      : (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
  };
  let fraction = 1;
  for (let n = 200; n >= 1; n--) fraction = 1 + numerator(n) / fraction;
  return front / fraction;
}

/** ln Γ(x) for x > 0: Stirling's series after shifting x above 15, where six terms give full precision. */
function lnGamma(x: number): number {
  let shift = 0;
  let z = x;
  for (; z < 15; z++) shift += Math.log(z);
  const r = 1 / (z * z);
  const series =
    1 / 12 - r * (1 / 360 - r * (1 / 1260 - r * (1 / 1680 - r * (1 / 1188 - (r * 691) / 360360))));
  return (z - 0.5) * Math.log(z) - z + Math.log(2 * Math.PI) / 2 + series / z - shift;
}
