import { ConfigReader } from './config.ts';
import { doubled } from './flow-heun.ts';
import { combine, PlanBuilder } from './linear.ts';
import { noiseSchedule, stableLinearBetas } from './noise-schedule.ts';
import { denoised } from './prediction.ts';
import { resolveRun } from './run.ts';
import { karrasFamilySchedule, startSigma } from './sigma-schedule.ts';
import type { SamplerDefinition } from './types.ts';

/** History: the sample and the slope at the start of the interval. */
const slots = { base: 0, slope: 1, count: 2 } as const;

/** Heun's second-order method in σ (Karras et al., arXiv 2206.00364, algorithm 1). */
export const heun: SamplerDefinition = {
  names: ['heun'],
  className: 'HeunDiscreteScheduler',
  create(source) {
    const config = new ConfigReader('heun', source);
    const type = config.prediction(['epsilon', 'v_prediction', 'sample']);
    const schedule = noiseSchedule(config, stableLinearBetas, 'unknown');
    const clampX0 = config.clamp(false);
    return {
      name: 'heun',
      className: 'HeunDiscreteScheduler',
      config: source,
      kind: 'diffusion',
      predictionType: type,
      callsPerStep: 2,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options, { custom: ['timesteps'] });
        const { timesteps, sigmas } = karrasFamilySchedule(config, schedule, steps, options, {
          supported: ['karras', 'exponential', 'beta'],
        });
        const builder = new PlanBuilder({
          sampler: 'heun',
          slots: slots.count,
          firstIndex: 2 * startStep,
          clampX0,
        });
        const [base, slope] = [builder.slots[slots.base]!, builder.slots[slots.slope]!];
        /** dx/dσ at a level, from the sample and the model's output there. */
        const slopeAt = (sigma: number): Float64Array => {
          const x0 = denoised(type, sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          return combine([1 / sigma, builder.sample], [-1 / sigma, clean]);
        };
        for (let i = startStep; i < timesteps.length; i++) {
          const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
          const first = slopeAt(sigma);
          builder.push({
            timestep: timesteps[i]!,
            inputScale: 1 / Math.sqrt(sigma ** 2 + 1),
            next: combine([1, builder.sample], [next - sigma, first]),
            history: [builder.sample, first],
            noised: { x0: 1, noise: sigma },
          });
          // The last interval ends at no noise, where the slope is undefined.
          if (i === timesteps.length - 1) break;
          const second = slopeAt(next);
          builder.push({
            timestep: timesteps[i + 1]!,
            inputScale: 1 / Math.sqrt(next ** 2 + 1),
            next: combine([1, base], [(next - sigma) / 2, slope], [(next - sigma) / 2, second]),
            noised: { x0: 1, noise: next },
          });
        }
        return builder.finish({
          initNoiseSigma: startSigma(config, sigmas),
          sigmas: doubled(sigmas).slice(2 * startStep),
        });
      },
    };
  },
};
