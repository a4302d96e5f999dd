import { ConfigReader } from './config.ts';
import { flowSchedule } from './flow-schedule.ts';
import { combine, PlanBuilder } from './linear.ts';
import { resolveRun } from './run.ts';
import type { SamplerDefinition } from './types.ts';

/** History: the sample and the slope at the start of the interval. */
const slots = { base: 0, slope: 1, count: 2 } as const;

/** Heun's method along a rectified flow: an Euler step, then the same step with the mean of the slopes at its ends. */
export const flowHeun: SamplerDefinition = {
  names: ['flow-heun'],
  className: 'FlowMatchHeunDiscreteScheduler',
  create(source) {
    // The class knows the fixed shift only; other fields of a FlowMatchEuler config do not concern it.
    const { num_train_timesteps, shift } = source;
    const config = new ConfigReader('flow-heun', { num_train_timesteps, shift });
    return {
      name: 'flow-heun',
      className: 'FlowMatchHeunDiscreteScheduler',
      config: source,
      kind: 'flow',
      predictionType: 'flow_prediction',
      callsPerStep: 2,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options, { flow: true });
        const { timesteps, sigmas } = flowSchedule(config, steps, {});
        const builder = new PlanBuilder({
          sampler: 'flow-heun',
          slots: slots.count,
          firstIndex: 2 * startStep,
        });
        const { sample, output } = builder;
        const [base, slope] = [builder.slots[slots.base]!, builder.slots[slots.slope]!];
        for (let i = startStep; i < steps; i++) {
          const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
          builder.predictX0(1, -sigma);
          builder.push({
            timestep: timesteps[i]!,
            next: combine([1, sample], [next - sigma, output]),
            history: [sample, output],
            noised: { x0: 1 - sigma, noise: sigma },
          });
          // The last interval ends at no noise, where the model has no slope to give.
          if (i === steps - 1) break;
          builder.predictX0(1, -next);
          builder.push({
            timestep: timesteps[i + 1]!,
            next: combine([1, base], [(next - sigma) / 2, slope], [(next - sigma) / 2, output]),
            noised: { x0: 1 - next, noise: next },
          });
        }
        return builder.finish({ initNoiseSigma: 1, sigmas: doubled(sigmas).slice(2 * startStep) });
      },
    };
  },
};

/** Noise levels as second-order samplers list them: every one but the first and last twice. */
export function doubled(sigmas: Float64Array): Float64Array {
  const inner = [...sigmas.subarray(1, -1)].flatMap((sigma) => [sigma, sigma]);
  return Float64Array.of(sigmas[0]!, ...inner, sigmas[sigmas.length - 1]!);
}
