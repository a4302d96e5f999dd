import { ConfigReader } from './config.ts';
import { consistencyTimesteps } from './consistency-schedule.ts';
import { combine, PlanBuilder } from './linear.ts';
import { noiseSchedule, stableBetas } from './noise-schedule.ts';
import { mixAt, prediction, signalAndNoise } from './prediction.ts';
import { resolveRun } from './run.ts';
import type { SamplerDefinition } from './types.ts';

const { fround } = Math;

/** Trajectory consistency distillation (Zheng et al., arXiv 2402.19159, strategic stochastic sampling). */
export const tcd: SamplerDefinition = {
  names: ['tcd'],
  className: 'TCDScheduler',
  create(source) {
    const config = new ConfigReader('tcd', source);
    const type = config.prediction(['epsilon', 'v_prediction', 'sample']);
    const schedule = noiseSchedule(config, stableBetas, 'exact');
    const { alphasCumprod } = schedule;
    return {
      name: 'tcd',
      className: 'TCDScheduler',
      config: source,
      kind: 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options, { custom: ['timesteps'] });
        const eta = options.eta ?? 0.3;
        if (!(eta >= 0 && eta <= 1)) config.fail('eta', `expected 0 to 1, got ${eta}.`);
        const timesteps = consistencyTimesteps(config, schedule.steps, steps, options, true);
        const builder = new PlanBuilder({ sampler: 'tcd', firstIndex: startStep });
        for (let i = startStep; i < timesteps.length; i++) {
          const t = timesteps[i]!;
          const last = i === timesteps.length - 1;
          const next = last ? 0 : timesteps[i + 1]!;
          // Rounded as the reference multiplies: in float32, where 0.7 · 500 is a whole number and not just below.
          const between = Math.floor(fround(fround(1 - eta) * next));
          const now = signalAndNoise(alphasCumprod[t]!);
          const target = signalAndNoise(alphasCumprod[between]!);
          const { x0, epsilon } = prediction(type, now.alpha, now.sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          const jumped = combine(
            [target.alpha, clean],
            [target.sigma * epsilon.sample, builder.sample],
            [target.sigma * epsilon.output, builder.output],
          );
          const stochastic = eta > 0 && !last;
          const kept = alphasCumprod[next]! / alphasCumprod[between]!;
          builder.push({
            timestep: t,
            next: stochastic
              ? combine([Math.sqrt(kept), jumped], [Math.sqrt(Math.max(0, 1 - kept)), builder.noise])
              : jumped,
            drawsNoise: stochastic,
            noised: mixAt(alphasCumprod[t]!),
          });
        }
        return builder.finish({ initNoiseSigma: 1 });
      },
    };
  },
};
