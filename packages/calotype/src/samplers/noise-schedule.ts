import { assertNever } from './assert-never.ts';
import type { ConfigReader } from './config.ts';

const { fround } = Math;

/** The noise a model was trained with: one entry per training timestep, rounded to float32 as diffusers keeps it. */
export interface NoiseSchedule {
  readonly steps: number;
  readonly betas: Float64Array;
  /** ᾱ: the share of the signal's variance that is left. */
  readonly alphasCumprod: Float64Array;
  /** σ = √((1 − ᾱ) / ᾱ): noise per unit of signal. */
  readonly sigmas: Float64Array;
  /** ln σ, for going from σ back to a timestep. */
  readonly logSigmas: Float64Array;
}

/** Defaults in which the scheduler classes differ. */
export interface BetaDefaults {
  readonly start: number;
  readonly end: number;
  readonly schedule: BetaSchedule;
}

type BetaSchedule = 'linear' | 'scaled_linear' | 'squaredcos_cap_v2' | 'exp' | 'sigmoid';

/** Betas of the DDPM paper, and diffusers' default for most classes. */
export const ddpmBetas: BetaDefaults = { start: 0.0001, end: 0.02, schedule: 'linear' };
/** Stable Diffusion's range, stepped linearly: the default of the second-order classes. */
export const stableLinearBetas: BetaDefaults = { start: 0.00085, end: 0.012, schedule: 'linear' };
/** Stable Diffusion's schedule: the default of LCM and TCD. */
export const stableBetas: BetaDefaults = { start: 0.00085, end: 0.012, schedule: 'scaled_linear' };

/** Smallest ᾱ kept at zero terminal SNR by samplers that need a finite σ: float16's smallest subnormal. */
const SMALLEST_ALPHA = 2 ** -24;

/**
 * What a class makes of `rescale_betas_zero_snr`: nothing, ᾱ = 0 at the last step, or an ᾱ just above zero there, as
 * samplers in σ need.
 */
export type ZeroTerminal = 'unknown' | 'exact' | 'floored';

/**
 * Computes the training schedule.
 *
 * The reference computes it in float32. Near t = 0 the difference 1 − ᾱ keeps only a few digits there, so rounding
 * at the same places is what makes the first and last noise levels agree, not an accident to be improved on.
 */
export function noiseSchedule(
  config: ConfigReader,
  defaults: BetaDefaults,
  zeroTerminal: ZeroTerminal,
): NoiseSchedule {
  const rescaled = zeroTerminal !== 'unknown' && config.boolean('rescale_betas_zero_snr', false);
  let betas = readBetas(config, defaults);
  if (rescaled) betas = rescaleToZeroTerminal(betas);
  const alphasCumprod = cumulativeProduct(betas.map((beta) => fround(1 - beta)));
  if (rescaled && zeroTerminal === 'floored') alphasCumprod[alphasCumprod.length - 1] = SMALLEST_ALPHA;
  const sigmas = alphasCumprod.map((alpha) => fround(Math.sqrt(fround(fround(1 - alpha) / alpha))));
  return {
    steps: betas.length,
    betas,
    alphasCumprod,
    sigmas,
    logSigmas: sigmas.map((sigma) => fround(Math.log(sigma))),
  };
}

function readBetas(config: ConfigReader, defaults: BetaDefaults): Float64Array {
  const trained = config.numbers('trained_betas');
  if (trained !== undefined) return Float64Array.from(trained, fround);
  const steps = config.integer('num_train_timesteps', 1000);
  if (steps < 1) config.fail('num_train_timesteps', `expected at least 1, got ${steps}.`);
  const start = config.number('beta_start', defaults.start);
  const end = config.number('beta_end', defaults.end);
  const kinds = ['linear', 'scaled_linear', 'squaredcos_cap_v2', 'exp', 'sigmoid'] as const;
  const schedule = config.oneOf('beta_schedule', kinds, defaults.schedule);
  switch (schedule) {
    case 'linear':
      return linspace32(start, end, steps);
    case 'scaled_linear':
      return linspace32(Math.sqrt(start), Math.sqrt(end), steps).map((root) => fround(root * root));
    case 'squaredcos_cap_v2':
      return betasOf(steps, (t) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2);
    case 'exp':
      return betasOf(steps, (t) => Math.exp(-12 * t));
    case 'sigmoid':
      return linspace32(-6, 6, steps).map((x) =>
        fround(fround(1 / (1 + Math.exp(-x))) * (end - start) + start),
      );
    default:
      return assertNever(schedule);
  }
}

/** Betas whose products follow a given ᾱ(t), at most 0.999 (Nichol & Dhariwal, arXiv 2102.09672). */
function betasOf(steps: number, alphaBar: (t: number) => number): Float64Array {
  return Float64Array.from({ length: steps }, (_, i) =>
    fround(Math.min(1 - alphaBar((i + 1) / steps) / alphaBar(i / steps), 0.999)),
  );
}

/** Stretches √ᾱ so that the last step holds no signal (Lin et al., arXiv 2305.08891, algorithm 1). */
function rescaleToZeroTerminal(betas: Float64Array): Float64Array {
  const roots = cumulativeProduct(betas.map((beta) => fround(1 - beta))).map((alpha) =>
    fround(Math.sqrt(alpha)),
  );
  const first = roots[0]!;
  const last = roots[roots.length - 1]!;
  const scale = fround(first / fround(first - last));
  const bars = roots.map((root) => fround(fround(fround(root - last) * scale) ** 2));
  return bars.map((bar, i) => fround(1 - (i === 0 ? bar : fround(bar / bars[i - 1]!))));
}

/** Running product, accumulated in float64 and stored as float32. */
function cumulativeProduct(factors: Float64Array): Float64Array {
  let product = 1;
  return factors.map((factor) => fround((product *= factor)));
}

/**
 * Evenly spaced float32 values, each half counted from its own end and rounded once, as PyTorch's fused
 * multiply-add leaves them. A different last bit would move the levels next to t = 0 by whole digits.
 */
export function linspace32(start: number, end: number, count: number): Float64Array {
  const first = fround(start);
  const last = fround(end);
  if (count === 1) return Float64Array.of(first);
  const step = fround(fround(last - first) / (count - 1));
  return Float64Array.from({ length: count }, (_, i) =>
    fround(i < Math.floor(count / 2) ? first + step * i : last - step * (count - 1 - i)),
  );
}
