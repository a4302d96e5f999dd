import type { ConfigReader } from './config.ts';
import type { SamplerOptions } from './types.ts';

/** Steps a run has and the one it starts with. */
export interface Run {
  readonly steps: number;
  readonly startStep: number;
}

/** Which of the schedule-replacing options a sampler takes. */
export type CustomSchedule = 'timesteps' | 'sigmas';

/**
 * Checks a caller's options and finds where the run starts.
 *
 * `strength` keeps the last share of the steps: diffusers rounds that count down for diffusion models and up for
 * flow models, and so does this.
 */
export function resolveRun(
  config: ConfigReader,
  options: SamplerOptions,
  accepts: { custom?: readonly CustomSchedule[]; flow?: boolean; sigmasIncludeLast?: boolean } = {},
): Run {
  const custom = (['timesteps', 'sigmas'] as const).filter((field) => options[field] !== undefined);
  for (const field of custom) {
    if (!accepts.custom?.includes(field)) {
      config.fail(field, 'this sampler lays out its own schedule; give numInferenceSteps.');
    }
  }
  const sigmaCount =
    options.sigmas === undefined ? undefined : options.sigmas.length - (accepts.sigmasIncludeLast ? 1 : 0);
  if (options.timesteps && sigmaCount !== undefined && sigmaCount !== options.timesteps.length) {
    config.fail(
      'sigmas',
      `${sigmaCount} levels do not match the ${options.timesteps.length} timesteps given.`,
    );
  }
  const steps = options.timesteps?.length ?? sigmaCount ?? options.numInferenceSteps;
  if (steps === undefined) config.fail('numInferenceSteps', 'is missing.');
  if (!Number.isInteger(steps) || steps < 1)
    config.fail('numInferenceSteps', `expected at least 1, got ${steps}.`);
  if (custom.length > 0 && (options.numInferenceSteps ?? steps) !== steps) {
    config.fail(
      'numInferenceSteps',
      `${options.numInferenceSteps} does not match the ${steps} ${custom[0]} given.`,
    );
  }
  return { steps, startStep: startStep(config, options, steps, accepts.flow ?? false) };
}

function startStep(config: ConfigReader, options: SamplerOptions, steps: number, flow: boolean): number {
  const { startStep: start, strength } = options;
  if (start !== undefined) {
    if (Number.isInteger(start) && start >= 0 && start < steps) return start;
    return config.fail('startStep', `expected an integer from 0 to ${steps - 1}, got ${start}.`);
  }
  if (strength === undefined) return 0;
  if (!(strength >= 0 && strength <= 1)) config.fail('strength', `expected 0 to 1, got ${strength}.`);
  const kept = steps * strength;
  const first = flow ? Math.trunc(steps - kept) : steps - Math.trunc(kept);
  if (first < steps) return first;
  return config.fail(
    'strength',
    `${strength} of ${steps} steps leaves none to run; use a strength of at least ${1 / steps} or more steps.`,
  );
}
