import type { ConfigReader } from './config.ts';
import { customTimesteps } from './spacing.ts';
import type { SamplerOptions } from './types.ts';

/**
 * Timesteps of a consistency model: evenly chosen from those it was distilled on, noisiest first
 * (Luo et al., arXiv 2310.04378).
 *
 * @param everyStep Whether `"original_inference_steps": null` means all training timesteps, as TCD has it.
 */
export function consistencyTimesteps(
  config: ConfigReader,
  trainSteps: number,
  steps: number,
  options: SamplerOptions,
  everyStep = false,
): Float64Array {
  if (options.timesteps) return customTimesteps(config, trainSteps, options.timesteps);
  const every =
    everyStep && options.originalInferenceSteps === undefined && config.isNull('original_inference_steps');
  const original = every
    ? trainSteps
    : (options.originalInferenceSteps ?? config.integer('original_inference_steps', 50));
  if (!Number.isInteger(original) || original < 1 || original > trainSteps) {
    config.fail('original_inference_steps', `expected an integer from 1 to ${trainSteps}, got ${original}.`);
  }
  const strength = options.scheduleStrength ?? 1;
  const available = Math.trunc(original * strength);
  if (steps > available) {
    config.fail(
      'numInferenceSteps',
      `${steps} steps cannot be taken from the ${available} of the training schedule ` +
        `(original_inference_steps ${original}${strength < 1 ? ` × strength ${strength}` : ''}). ` +
        `Use at most ${available}, or raise original_inference_steps.`,
    );
  }
  const stride = Math.floor(trainSteps / original);
  return Float64Array.from({ length: steps }, (_, i) => {
    const skipped = Math.floor(i * (available / steps));
    return (available - skipped) * stride - 1;
  });
}
