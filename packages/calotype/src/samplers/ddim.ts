import { ConfigReader } from './config.ts';
import { combine, PlanBuilder } from './linear.ts';
import { ddpmBetas, noiseSchedule } from './noise-schedule.ts';
import { mixAt, prediction, signalAndNoise } from './prediction.ts';
import { resolveRun } from './run.ts';
import { spacedTimesteps } from './spacing.ts';
import type { SamplerDefinition } from './types.ts';

/** Denoising diffusion implicit models (Song et al., arXiv 2010.02502, equations 12 and 16). */
export const ddim: SamplerDefinition = {
  names: ['ddim'],
  className: 'DDIMScheduler',
  create(source) {
    const config = new ConfigReader('ddim', source);
    config.refuseThresholding();
    const type = config.prediction(['epsilon', 'v_prediction', 'sample']);
    const schedule = noiseSchedule(config, ddpmBetas, 'exact');
    const { alphasCumprod } = schedule;
    const finalAlpha = config.boolean('set_alpha_to_one', true) ? 1 : alphasCumprod[0]!;
    const clampX0 = config.clamp(true);
    return {
      name: 'ddim',
      className: 'DDIMScheduler',
      config: source,
      kind: 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options);
        const eta = options.eta ?? 0;
        if (!(eta >= 0)) config.fail('eta', `expected 0 or more, got ${eta}.`);
        const timesteps = spacedTimesteps(config, schedule.steps, steps, {
          dropLast: false,
          fractional: false,
          fallback: 'leading',
        });
        const stride = Math.floor(schedule.steps / steps);
        const builder = new PlanBuilder({ sampler: 'ddim', firstIndex: startStep, clampX0 });
        for (const t of timesteps.subarray(startStep)) {
          const alphaBar = alphaOf(alphasCumprod, t);
          const nextAlphaBar = alphaAt(alphasCumprod, t - stride, finalAlpha);
          const { alpha, sigma } = signalAndNoise(alphaBar);
          const { x0, epsilon } = prediction(type, alpha, sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          const noise = combine([epsilon.sample, builder.sample], [epsilon.output, builder.output]);
          const variance = ((1 - nextAlphaBar) / (1 - alphaBar)) * (1 - alphaBar / nextAlphaBar);
          const deviation = eta * Math.sqrt(Math.max(0, variance));
          const direction = Math.sqrt(Math.max(0, 1 - nextAlphaBar - deviation ** 2));
          builder.push({
            timestep: t,
            next: combine([Math.sqrt(nextAlphaBar), clean], [direction, noise], [deviation, builder.noise]),
            drawsNoise: eta > 0,
            noised: mixAt(alphaBar),
          });
        }
        return builder.finish({ initNoiseSigma: 1 });
      },
    };
  },
};

/** ᾱ at the timestep that a step starts from. At −1 it is that of the last: Python counts from the end. */
export function alphaOf(alphasCumprod: Float64Array, timestep: number): number {
  return alphasCumprod.at(Math.min(timestep, alphasCumprod.length - 1))!;
}

/** ᾱ at the timestep that a step goes to; before the first one, what the config says the end is. */
export function alphaAt(alphasCumprod: Float64Array, timestep: number, final: number): number {
  return timestep >= 0 ? alphaOf(alphasCumprod, timestep) : final;
}
