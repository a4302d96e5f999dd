import { ConfigReader } from './config.ts';
import { combine, PlanBuilder } from './linear.ts';
import { ddpmBetas, noiseSchedule } from './noise-schedule.ts';
import { denoised } from './prediction.ts';
import { resolveRun } from './run.ts';
import { karrasFamilySchedule, startSigma } from './sigma-schedule.ts';
import type { SamplerDefinition } from './types.ts';

/** Euler steps in σ, with optional churn (Karras et al., arXiv 2206.00364, algorithm 2 without its correction). */
export const euler: SamplerDefinition = {
  names: ['euler'],
  className: 'EulerDiscreteScheduler',
  create(source) {
    const config = new ConfigReader('euler', source);
    // Some exports still carry the older name of the same thing.
    const renamed = source['prediction_type'] === 'original_sample';
    const type = renamed ? 'sample' : config.prediction(['epsilon', 'v_prediction', 'sample']);
    const schedule = noiseSchedule(config, ddpmBetas, 'floored');
    const continuous =
      config.oneOf('timestep_type', ['discrete', 'continuous'], 'discrete') === 'continuous' &&
      type === 'v_prediction';
    return {
      name: 'euler',
      className: 'EulerDiscreteScheduler',
      config: source,
      kind: 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options, {
          custom: ['timesteps', 'sigmas'],
          sigmasIncludeLast: true,
        });
        const { timesteps, sigmas } = karrasFamilySchedule(config, schedule, steps, options, {
          supported: ['karras', 'exponential', 'beta'],
          euler: true,
        });
        const churn = { amount: 0, min: 0, max: Infinity, noise: 1, ...options.churn };
        const builder = new PlanBuilder({ sampler: 'euler', firstIndex: startStep });
        // Continuous timesteps are made of the levels, of which log-linear interpolation gives one more.
        const calls = continuous ? sigmas.length - 1 : timesteps.length;
        for (let i = startStep; i < calls; i++) {
          const sigma = sigmas[i]!;
          const churned = sigma >= churn.min && sigma <= churn.max;
          const gamma = churned ? Math.min(churn.amount / (sigmas.length - 1), Math.SQRT2 - 1) : 0;
          const raised = sigma * (1 + gamma);
          const added = churn.noise * Math.sqrt(raised ** 2 - sigma ** 2);
          const start = combine([1, builder.sample], [added, builder.noise]);
          // v is read at the level the model saw, noise at the level after churn: so does the reference.
          const x0 = denoised(type, type === 'epsilon' ? raised : sigma);
          builder.predictX0(x0.sample, x0.output);
          const clean = combine([x0.sample, start], [x0.output, builder.output]);
          const ratio = (sigmas[i + 1]! - raised) / raised;
          builder.push({
            timestep: continuous ? Math.fround(0.25 * Math.log(sigma)) : timesteps[i]!,
            inputScale: 1 / Math.sqrt(sigma ** 2 + 1),
            next: combine([1 + ratio, start], [-ratio, clean]),
            drawsNoise: gamma > 0,
            noised: { x0: 1, noise: sigma },
          });
        }
        return builder.finish({
          initNoiseSigma: startSigma(config, sigmas),
          sigmas: sigmas.slice(startStep),
        });
      },
    };
  },
};
