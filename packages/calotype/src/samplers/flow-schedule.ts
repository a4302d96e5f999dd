import type { ConfigReader } from './config.ts';
import { placeSigmas, sigmaSpacing } from './sigmas.ts';
import { linspace } from './spacing.ts';
import type { SamplerOptions } from './types.ts';

const { fround } = Math;

/** Moves noise levels towards 1 by a factor: larger images need more of their steps at high noise (arXiv 2403.03206). */
export function shifted(sigmas: Float64Array, shift: number): Float64Array {
  return sigmas.map((sigma) => (shift * sigma) / (1 + (shift - 1) * sigma));
}

/** Timesteps and levels (one more) of a flow-matching run. */
export interface FlowSchedule {
  readonly timesteps: Float64Array;
  readonly sigmas: Float64Array;
}

/** Lays out a rectified flow's levels from 1 down to 0 (Esser et al., arXiv 2403.03206). */
export function flowSchedule(config: ConfigReader, steps: number, options: SamplerOptions): FlowSchedule {
  const trainSteps = config.integer('num_train_timesteps', 1000);
  const dynamic = config.boolean('use_dynamic_shifting', false);
  const shift = config.number('shift', 1);
  let sigmas = startingSigmas(trainSteps, steps, dynamic ? 1 : shift, options);
  sigmas = dynamic ? dynamicallyShifted(config, sigmas, steps, options) : shifted(sigmas, shift);
  sigmas = stretched(config, sigmas);
  const spacing = sigmaSpacing(config, ['karras', 'exponential', 'beta']) as
    'karras' | 'exponential' | 'beta' | undefined;
  if (spacing !== undefined)
    sigmas = placeSigmas(spacing, sigmas[0]!, sigmas[sigmas.length - 1]!, sigmas.length);
  const inverted = config.boolean('invert_sigmas', false);
  const final = sigmas.map((sigma) => (inverted ? fround(1 - fround(sigma)) : fround(sigma)));
  // Timesteps of the caller's reach the model as they are; only the levels are shifted.
  const given = inverted ? undefined : options.timesteps;
  return {
    timesteps: given ? Float64Array.from(given, fround) : final.map((sigma) => fround(sigma * trainSteps)),
    sigmas: Float64Array.of(...final, inverted ? 1 : 0),
  };
}

function startingSigmas(
  trainSteps: number,
  steps: number,
  shift: number,
  options: SamplerOptions,
): Float64Array {
  if (options.sigmas) return Float64Array.from(options.sigmas, fround);
  if (options.timesteps) return Float64Array.from(options.timesteps, (t) => fround(fround(t) / trainSteps));
  // The ends come from the training levels, which a fixed shift has already moved once; float32 as there.
  const end = (sigma: number): number =>
    fround(fround(shift * sigma) / fround(1 + fround(fround(shift - 1) * sigma)));
  return linspace(end(1) * trainSteps, end(fround(1 / trainSteps)) * trainSteps, steps).map(
    (t) => t / trainSteps,
  );
}

/** Applies a shift that depends on the image's size. */
export function dynamicallyShifted(
  config: ConfigReader,
  sigmas: Float64Array,
  steps: number,
  options: SamplerOptions,
): Float64Array {
  const factor = dynamicFactor(config, options);
  if (factor === undefined) {
    return config.fail('mu', `use_dynamic_shifting needs mu or imageSeqLen to lay out ${steps} steps.`);
  }
  return sigmas.map((sigma) => factor / (factor + (1 / sigma - 1)));
}

/** The shift that `use_dynamic_shifting` asks for; undefined where it does not, or nothing tells the image's size. */
export function dynamicFactor(config: ConfigReader, options: SamplerOptions): number | undefined {
  if (!config.boolean('use_dynamic_shifting', false)) return undefined;
  const { imageSeqLen } = options;
  const mu = options.mu ?? (imageSeqLen === undefined ? undefined : dynamicShift(config, imageSeqLen));
  if (mu === undefined) return undefined;
  const kind = config.oneOf('time_shift_type', ['exponential', 'linear'], 'exponential');
  return kind === 'exponential' ? Math.exp(mu) : mu;
}

/** Stretches levels so that the last one is `shift_terminal`, where the config has it (LTX-Video, arXiv 2501.00103). */
export function stretched(config: ConfigReader, sigmas: Float64Array): Float64Array {
  const terminal = config.optionalNumber('shift_terminal');
  if (!terminal) return sigmas;
  const scale = (1 - sigmas[sigmas.length - 1]!) / (1 - terminal);
  return sigmas.map((sigma) => 1 - (1 - sigma) / scale);
}

function dynamicShift(config: ConfigReader, imageSeqLen: number): number {
  const [length, maxLength] = [
    config.number('base_image_seq_len', 256),
    config.number('max_image_seq_len', 4096),
  ];
  const [base, max] = [config.number('base_shift', 0.5), config.number('max_shift', 1.15)];
  const slope = (max - base) / (maxLength - length);
  return imageSeqLen * slope + base - slope * length;
}

/** `mu` that FLUX.2 uses: fitted by its authors to image tokens and steps, flat in the steps for large images. */
export function flux2Shift(imageSeqLen: number, steps: number): number {
  const at200 = 0.00016927 * imageSeqLen + 0.45666666;
  if (imageSeqLen > 4300) return at200;
  const at10 = 8.73809524e-5 * imageSeqLen + 1.89833333;
  const slope = (at200 - at10) / 190;
  return slope * steps + at200 - 200 * slope;
}
