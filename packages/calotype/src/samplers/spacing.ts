import { assertNever } from './assert-never.ts';
import type { ConfigReader } from './config.ts';

/** Evenly spaced values from `start` to `stop`, both included. */
export function linspace(start: number, stop: number, count: number): Float64Array {
  const step = (stop - start) / (count - 1);
  return Float64Array.from({ length: count }, (_, i) =>
    count > 1 && i === count - 1 ? stop : count === 1 ? start : start + i * step,
  );
}

/** Rounds halves to the even neighbour. */
export function roundHalfEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Where a sampler's linear and leading spacings put their points. */
export interface SpacingStyle {
  /** Whether one more interval is laid out and its last point dropped, as the DPM-Solver family does. */
  readonly dropLast: boolean;
  /** Whether linear spacing keeps fractions. */
  readonly fractional: boolean;
  /** Training steps to spread over, where the noisiest ones are clipped away. */
  readonly lastTimestep?: number;
  readonly fallback: Spacing;
}

type Spacing = 'linspace' | 'leading' | 'trailing';

/**
 * The timesteps that a run visits, noisiest first (Lin et al., arXiv 2305.08891, table 2).
 *
 * Trailing spacing counts down by `train / steps`. Where that quotient is rounded down (61 steps of 1000, 103, …)
 * there is room for one step more than asked for, at −1. diffusers takes it, so it belongs to the picture.
 */
export function spacedTimesteps(
  config: ConfigReader,
  trainSteps: number,
  steps: number,
  style: SpacingStyle,
): Float64Array {
  if (!Number.isInteger(steps) || steps < 1 || steps > trainSteps) {
    config.fail('numInferenceSteps', `expected an integer from 1 to ${trainSteps}, got ${steps}.`);
  }
  const spacing = config.oneOf('timestep_spacing', ['linspace', 'leading', 'trailing'], style.fallback);
  const last = style.lastTimestep ?? trainSteps;
  const extra = style.dropLast ? 1 : 0;
  switch (spacing) {
    case 'linspace': {
      const points = linspace(0, last - 1, steps + extra)
        .toReversed()
        .subarray(0, steps);
      return style.fractional ? points.slice() : points.map(roundHalfEven);
    }
    case 'leading': {
      const ratio = Math.floor(last / (steps + extra));
      const offset = config.integer('steps_offset', 0);
      return Float64Array.from({ length: steps }, (_, i) => (steps + extra - 1 - i) * ratio + offset);
    }
    case 'trailing': {
      const ratio = trainSteps / steps;
      // The step as numpy's arange has it, after one rounding at the scale of `last`: it decides where halves round.
      const step = last - ratio - last;
      return Float64Array.from(
        { length: Math.ceil(last / ratio) },
        (_, i) => roundHalfEven(last + i * step) - 1,
      );
    }
    default:
      return assertNever(spacing);
  }
}

/** A caller's own timesteps: whole, falling, within the training range. */
export function customTimesteps(
  config: ConfigReader,
  trainSteps: number,
  timesteps: readonly number[],
): Float64Array {
  const fits = timesteps.every((t, i) => t >= 0 && t < trainSteps && (i === 0 || t < timesteps[i - 1]!));
  if (timesteps.length === 0 || !fits) {
    config.fail(
      'timesteps',
      `expected falling values from ${trainSteps - 1} to 0, got [${timesteps.join(', ')}].`,
    );
  }
  return Float64Array.from(timesteps);
}
