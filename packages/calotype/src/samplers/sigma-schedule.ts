import type { ConfigReader } from './config.ts';
import type { NoiseSchedule } from './noise-schedule.ts';
import { linspace32 } from './noise-schedule.ts';
import { dynamicFactor, shifted } from './flow-schedule.ts';
import { placeSigmas, sigmasAt, sigmaSpacing, timestepOf, type SigmaSpacing } from './sigmas.ts';
import { customTimesteps, linspace, roundHalfEven, spacedTimesteps } from './spacing.ts';
import type { SamplerOptions } from './types.ts';

const { fround } = Math;

/** Timesteps of the model calls' main points, and their noise levels plus the one the run ends at. */
export interface SigmaSchedule {
  readonly timesteps: Float64Array;
  /** One more than there are timesteps; rounded to float32 as the reference keeps them. */
  readonly sigmas: Float64Array;
}

/**
 * Schedule of the samplers that integrate in σ (Karras et al., arXiv 2206.00364): Euler, Heun, LMS, KDPM2, DPM-SDE.
 * Levels other than the training ones are placed between the noisiest and cleanest of the spaced timesteps.
 */
export function karrasFamilySchedule(
  config: ConfigReader,
  schedule: NoiseSchedule,
  steps: number,
  options: SamplerOptions,
  style: {
    supported: readonly ('karras' | 'exponential' | 'beta')[];
    /** Whether timesteps of Karras levels are rounded. */
    roundKarras?: boolean;
    /** Whether `final_sigmas_type`, `interpolation_type`, `sigma_min`, `sigma_max` are known to the class. */
    euler?: boolean;
  },
): SigmaSchedule {
  const spacing = sigmaSpacing(config, style.supported) as 'karras' | 'exponential' | 'beta' | undefined;
  if (options.sigmas !== undefined) {
    const given = Float64Array.from(options.sigmas, fround);
    return {
      sigmas: given,
      timesteps: given.slice(0, -1).map((sigma) => fround(timestepOf(schedule, sigma))),
    };
  }
  if (options.timesteps !== undefined && spacing !== undefined) {
    config.fail('timesteps', `cannot be combined with ${spacing} sigmas, which choose their own.`);
  }
  let timesteps = options.timesteps
    ? customTimesteps(config, schedule.steps, options.timesteps)
    : spacedTimesteps(config, schedule.steps, steps, {
        dropLast: false,
        fractional: true,
        fallback: 'linspace',
      });
  timesteps = timesteps.map(fround);
  let sigmas = sigmasAt(schedule, timesteps);
  if (
    style.euler &&
    config.oneOf('interpolation_type', ['linear', 'log_linear'], 'linear') === 'log_linear'
  ) {
    const ends = [schedule.logSigmas[schedule.steps - 1]!, schedule.logSigmas[0]!] as const;
    sigmas = linspace32(ends[0], ends[1], steps + 1).map((value) => fround(Math.exp(value)));
  }
  if (spacing !== undefined) {
    const highest = (style.euler ? config.optionalNumber('sigma_max') : undefined) ?? sigmas[0]!;
    const lowest =
      (style.euler ? config.optionalNumber('sigma_min') : undefined) ?? sigmas[sigmas.length - 1]!;
    sigmas = placeSigmas(spacing, highest, lowest, steps);
    const round = style.roundKarras && spacing === 'karras';
    timesteps = sigmas.map((sigma) => {
      const t = timestepOf(schedule, sigma);
      return fround(round ? Math.round(t) : t);
    });
  }
  const toMinimum =
    style.euler && config.oneOf('final_sigmas_type', ['zero', 'sigma_min'], 'zero') === 'sigma_min';
  return {
    timesteps,
    sigmas: Float64Array.from([...sigmas, toMinimum ? schedule.sigmas[0]! : 0], fround),
  };
}

/** Standard deviation of the start noise: the highest σ, or with leading spacing that of signal and noise together. */
export function startSigma(config: ConfigReader, sigmas: Float64Array): number {
  const highest = Math.max(...sigmas);
  const spacing = config.oneOf('timestep_spacing', ['linspace', 'leading', 'trailing'], 'linspace');
  return spacing === 'leading' ? Math.sqrt(highest ** 2 + 1) : highest;
}

/** What the λ-based solvers (DPM-Solver, UniPC, DEIS, SA-Solver) differ in when they lay out their schedule. */
export interface SolverStyle {
  readonly supported: readonly NonNullable<SigmaSpacing>[];
  /** Level appended when sigmas were placed: zero, the training minimum, or the last one again. */
  readonly placedEnd: 'zero' | 'sigma_min' | 'repeat';
  /** Level appended to interpolated sigmas. */
  readonly interpolatedEnd: 'zero' | 'sigma_min';
  /** Whether `timestep_spacing` is known; without it, linear. */
  readonly spaced?: boolean;
  readonly lambdaClipping?: boolean;
  /** Whether timesteps of Karras and Lu levels are cut instead of rounded with the cosine schedule. */
  readonly cutCosine?: boolean;
  /** Whether Karras levels may be turned into flow levels, σ / (σ + 1), when both switches are set. */
  readonly karrasFlow?: boolean;
  /** Newer flow schedule: starts at 1 instead of 1 − 1/N, with dynamic shift and terminal stretch. */
  readonly flowFromOne?: (sigmas: Float64Array) => Float64Array;
}

/** Schedule of the solvers that step in λ = ln(α/σ); levels are placed within the whole training range. */
export function solverSchedule(
  config: ConfigReader,
  schedule: NoiseSchedule,
  steps: number,
  options: SamplerOptions,
  style: SolverStyle,
): SigmaSchedule {
  const both =
    style.karrasFlow &&
    config.boolean('use_karras_sigmas', false) &&
    config.boolean('use_flow_sigmas', false);
  const spacing = both ? 'karras' : sigmaSpacing(config, style.supported);
  const whole = (timesteps: Float64Array): Float64Array => timesteps.map(Math.trunc);
  const append = (sigmas: Float64Array, end: SolverStyle['placedEnd']): Float64Array => {
    const last = end === 'zero' ? 0 : end === 'repeat' ? sigmas[sigmas.length - 1]! : schedule.sigmas[0]!;
    return Float64Array.from([...sigmas, last], fround);
  };
  if (spacing === 'flow') {
    const sigmas = flowSigmas(config, schedule.steps, steps, options, style);
    return {
      timesteps: whole(sigmas.map((s) => s * schedule.steps)),
      sigmas: append(sigmas, style.placedEnd),
    };
  }
  if (options.sigmas !== undefined) config.fail('sigmas', 'are only taken with use_flow_sigmas.');
  if (spacing !== undefined) {
    if (options.timesteps) config.fail('timesteps', `cannot be combined with ${spacing} sigmas.`);
    const highest = config.optionalNumber('sigma_max') ?? schedule.sigmas[schedule.steps - 1]!;
    const lowest = config.optionalNumber('sigma_min') ?? schedule.sigmas[0]!;
    const sigmas = placeSigmas(spacing, highest, lowest, steps);
    if (both) {
      const flow = sigmas.map((sigma) => sigma / (sigma + 1));
      return { timesteps: whole(flow.map((s) => s * schedule.steps)), sigmas: append(flow, style.placedEnd) };
    }
    const found = sigmas.map((sigma) => timestepOf(schedule, sigma));
    const round = spacing === 'karras' || spacing === 'lu';
    const cosine =
      style.cutCosine && config.oneOf('beta_schedule', betaSchedules, 'linear') === 'squaredcos_cap_v2';
    return {
      timesteps: whole(round && !cosine ? found.map(roundHalfEven) : found),
      sigmas: append(sigmas, style.placedEnd),
    };
  }
  const lastTimestep = style.lambdaClipping ? clippedSteps(config, schedule) : schedule.steps;
  const timesteps = options.timesteps
    ? customTimesteps(config, schedule.steps, options.timesteps)
    : style.spaced
      ? spacedTimesteps(config, schedule.steps, steps, {
          dropLast: true,
          fractional: false,
          lastTimestep,
          fallback: 'linspace',
        })
      : linspace(0, lastTimestep - 1, steps + 1)
          .toReversed()
          .subarray(0, steps)
          .map(roundHalfEven);
  return { timesteps, sigmas: append(sigmasAt(schedule, timesteps), style.interpolatedEnd) };
}

const betaSchedules = ['linear', 'scaled_linear', 'squaredcos_cap_v2', 'exp', 'sigmoid'] as const;

/** Number of training steps whose λ is not below `lambda_min_clipped`. */
function clippedSteps(config: ConfigReader, schedule: NoiseSchedule): number {
  const limit = config.number('lambda_min_clipped', -Infinity);
  let clipped = 0;
  for (const alphaBar of schedule.alphasCumprod) {
    if (Math.log(Math.sqrt(alphaBar)) - Math.log(Math.sqrt(1 - alphaBar)) < limit) clipped++;
  }
  if (clipped >= schedule.steps) config.fail('lambda_min_clipped', `${limit} leaves no training step.`);
  return schedule.steps - clipped;
}

function flowSigmas(
  config: ConfigReader,
  trainSteps: number,
  steps: number,
  options: SamplerOptions,
  style: SolverStyle,
): Float64Array {
  if (style.flowFromOne) {
    const base = options.sigmas
      ? Float64Array.from(options.sigmas)
      : linspace(1, 1 / trainSteps, steps + 1).subarray(0, steps);
    return style.flowFromOne(base);
  }
  if (options.sigmas !== undefined)
    config.fail('sigmas', 'this sampler lays out its own schedule; give numInferenceSteps.');
  const shift = dynamicFactor(config, options) ?? config.number('flow_shift', 1);
  const levels = linspace(1, 1 / trainSteps, steps + 1).map((alpha) => 1 - alpha);
  return shifted(levels, shift).toReversed().slice(0, steps);
}
