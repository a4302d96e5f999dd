import { ConfigReader } from './config.ts';
import { combine, PlanBuilder } from './linear.ts';
import { ddpmBetas, noiseSchedule } from './noise-schedule.ts';
import { denoised } from './prediction.ts';
import { resolveRun } from './run.ts';
import { karrasFamilySchedule, startSigma } from './sigma-schedule.ts';
import type { SamplerDefinition } from './types.ts';

const { fround } = Math;

/**
 * Euler steps that go below the next noise level and come back up to it with fresh noise: ancestral sampling, as in
 * DDPM (Ho et al., arXiv 2006.11239), in the σ of Karras et al. (arXiv 2206.00364).
 */
export const eulerAncestral: SamplerDefinition = {
  names: ['euler-ancestral', 'euler-a'],
  className: 'EulerAncestralDiscreteScheduler',
  create(source) {
    const config = new ConfigReader('euler-ancestral', source);
    const type = config.prediction(['epsilon', 'v_prediction']);
    const schedule = noiseSchedule(config, ddpmBetas, 'floored');
    return {
      name: 'euler-ancestral',
      className: 'EulerAncestralDiscreteScheduler',
      config: source,
      kind: 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options);
        const { timesteps, sigmas } = karrasFamilySchedule(config, schedule, steps, options, {
          supported: [],
        });
        const builder = new PlanBuilder({ sampler: 'euler-ancestral', firstIndex: startStep });
        for (let i = startStep; i < timesteps.length; i++) {
          const sigma = sigmas[i]!;
          const { up, down } = ancestralSplit(sigma, sigmas[i + 1]!);
          const x0 = denoised(type, sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          builder.push({
            timestep: timesteps[i]!,
            inputScale: 1 / Math.sqrt(sigma ** 2 + 1),
            next: combine([down / sigma, builder.sample], [1 - down / sigma, clean], [up, builder.noise]),
            drawsNoise: true,
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

/**
 * Splits a step from one noise level to the next into the level to go down to and the noise to add then. In float32
 * as the reference has it: over long steps the subtraction loses digits, and its pictures are made with what is left.
 */
export function ancestralSplit(from: number, to: number): { up: number; down: number } {
  const square = (x: number): number => fround(x * x);
  const [a, b] = [square(from), square(to)];
  const up = fround(Math.sqrt(fround(fround(b * fround(a - b)) / a)));
  return { up, down: fround(Math.sqrt(Math.max(0, fround(b - square(up))))) };
}
