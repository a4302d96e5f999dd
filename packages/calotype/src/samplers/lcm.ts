import { ConfigReader } from './config.ts';
import { consistencyTimesteps } from './consistency-schedule.ts';
import { combine, PlanBuilder } from './linear.ts';
import { noiseSchedule, stableBetas } from './noise-schedule.ts';
import { mixAt, prediction, signalAndNoise } from './prediction.ts';
import { resolveRun } from './run.ts';
import type { SamplerDefinition } from './types.ts';

/** σ of the data in the boundary condition, as the consistency paper sets it. */
const DATA_SIGMA = 0.5;

/** Latent consistency models (Luo et al., arXiv 2310.04378): jump to the clean sample, noise it again, jump again. */
export const lcm: SamplerDefinition = {
  names: ['lcm'],
  className: 'LCMScheduler',
  create(source) {
    const config = new ConfigReader('lcm', source);
    config.refuseThresholding();
    const type = config.prediction(['epsilon', 'v_prediction', 'sample']);
    const schedule = noiseSchedule(config, stableBetas, 'exact');
    const { alphasCumprod } = schedule;
    const clampX0 = config.clamp(false);
    const scaling = config.number('timestep_scaling', 10);
    return {
      name: 'lcm',
      className: 'LCMScheduler',
      config: source,
      kind: 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options, { custom: ['timesteps'] });
        const timesteps = consistencyTimesteps(config, schedule.steps, steps, options);
        const builder = new PlanBuilder({ sampler: 'lcm', firstIndex: startStep, clampX0 });
        for (let i = startStep; i < timesteps.length; i++) {
          const t = timesteps[i]!;
          const alphaBar = alphasCumprod[t]!;
          const { alpha, sigma } = signalAndNoise(alphaBar);
          const { x0 } = prediction(type, alpha, sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          const scaled = t * scaling;
          const norm = scaled ** 2 + DATA_SIGMA ** 2;
          const denoised = combine(
            [scaled / Math.sqrt(norm), clean],
            [DATA_SIGMA ** 2 / norm, builder.sample],
          );
          const last = i === timesteps.length - 1;
          const next = last ? { alpha: 1, sigma: 0 } : signalAndNoise(alphasCumprod[timesteps[i + 1]!]!);
          builder.push({
            timestep: t,
            next: combine([next.alpha, denoised], [next.sigma, builder.noise]),
            drawsNoise: !last,
            noised: mixAt(alphaBar),
          });
        }
        return builder.finish({ initNoiseSigma: 1 });
      },
    };
  },
};
