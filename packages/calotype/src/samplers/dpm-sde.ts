import { ConfigReader } from './config.ts';
import { ancestralSplit } from './euler-ancestral.ts';
import { doubled } from './flow-heun.ts';
import { combine, PlanBuilder } from './linear.ts';
import { noiseSchedule, stableLinearBetas } from './noise-schedule.ts';
import { denoised } from './prediction.ts';
import { resolveRun } from './run.ts';
import { karrasFamilySchedule, startSigma } from './sigma-schedule.ts';
import { timestepOf } from './sigmas.ts';
import type { Row, SamplerDefinition } from './types.ts';

/** History: the sample at the start of the interval, and the noise its first half took. */
const slots = { base: 0, noise: 1, count: 2 } as const;

/**
 * Second-order stochastic DPM-Solver++ as k-diffusion has it (arXiv 2211.01095).
 *
 * Both halves of a step follow one Brownian path in σ. diffusers takes the path from torchsde's tree, with a seed of its
 * own that a generator's does not set: the same request gives another picture there each time. Here each call brings one
 * draw of the request's stream, and the second half reuses the first one's with the weights that give the same joint
 * distribution. So pictures are of the same kind and repeatable, but not diffusers'.
 */
export const dpmSde: SamplerDefinition = {
  names: ['dpm-sde', 'dpm++-sde'],
  className: 'DPMSolverSDEScheduler',
  create(source) {
    const config = new ConfigReader('dpm-sde', source);
    const type = config.prediction(['epsilon', 'v_prediction']);
    if (config.optionalNumber('noise_sampler_seed') !== undefined) {
      config.fail(
        'noise_sampler_seed',
        "is for another way to draw noise; leave it out: the request's seed counts.",
      );
    }
    const schedule = noiseSchedule(config, stableLinearBetas, 'unknown');
    return {
      name: 'dpm-sde',
      className: 'DPMSolverSDEScheduler',
      config: source,
      kind: 'diffusion',
      predictionType: type,
      callsPerStep: 2,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options);
        const { timesteps, sigmas } = karrasFamilySchedule(config, schedule, steps, options, {
          supported: ['karras', 'exponential', 'beta'],
        });
        const builder = new PlanBuilder({
          sampler: 'dpm-sde',
          slots: slots.count,
          firstIndex: 2 * startStep,
        });
        const { sample, noise } = builder;
        const [base, firstNoise] = [builder.slots[slots.base]!, builder.slots[slots.noise]!];
        const cleanAt = (sigma: number): Row => {
          const x0 = denoised(type, sigma);
          return builder.predictX0(x0.sample, x0.output);
        };
        const stepTo = (from: number, to: number, start: Row, clean: Row, noise: Row): Row => {
          const split = ancestralSplit(from, to);
          const up = Math.min(to, split.up);
          const down = Math.sqrt(Math.max(0, to ** 2 - up ** 2));
          return combine([down / from, start], [1 - down / from, clean], [up, noise]);
        };
        for (let i = startStep; i < timesteps.length; i++) {
          const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
          const common = {
            timestep: timesteps[i]!,
            inputScale: 1 / Math.sqrt(sigma ** 2 + 1),
            noised: { x0: 1, noise: sigma },
          };
          const clean = cleanAt(sigma);
          if (next === 0) {
            builder.push({ ...common, next: clean });
            break;
          }
          const middle = Math.sqrt(sigma * next);
          builder.push({
            ...common,
            next: stepTo(sigma, middle, sample, clean, noise),
            history: [sample, noise],
            drawsNoise: true,
          });
          const path = combine(
            [Math.sqrt((sigma - middle) / (sigma - next)), firstNoise],
            [Math.sqrt((middle - next) / (sigma - next)), noise],
          );
          builder.push({
            timestep: timestepOf(schedule, middle),
            inputScale: 1 / Math.sqrt(middle ** 2 + 1),
            next: stepTo(sigma, next, base, cleanAt(middle), path),
            drawsNoise: true,
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
