import { ConfigReader } from './config.ts';
import { combine, PlanBuilder } from './linear.ts';
import { ddpmBetas, noiseSchedule } from './noise-schedule.ts';
import { denoised } from './prediction.ts';
import { resolveRun } from './run.ts';
import { karrasFamilySchedule, startSigma } from './sigma-schedule.ts';
import type { SamplerDefinition } from './types.ts';

const ORDER = 4;

/** Linear multistep in σ: Adams–Bashforth for uneven steps, as k-diffusion introduced it (arXiv 2206.00364). */
export const lms: SamplerDefinition = {
  names: ['lms'],
  className: 'LMSDiscreteScheduler',
  create(source) {
    const config = new ConfigReader('lms', source);
    const type = config.prediction(['epsilon', 'v_prediction', 'sample']);
    const schedule = noiseSchedule(config, ddpmBetas, 'unknown');
    return {
      name: 'lms',
      className: 'LMSDiscreteScheduler',
      config: source,
      kind: 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options);
        const { timesteps, sigmas } = karrasFamilySchedule(config, schedule, steps, options, {
          supported: ['karras', 'exponential', 'beta'],
        });
        const builder = new PlanBuilder({ sampler: 'lms', slots: ORDER - 1, firstIndex: startStep });
        for (let i = startStep; i < timesteps.length; i++) {
          const sigma = sigmas[i]!;
          const x0 = denoised(type, sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          const slope = combine([1 / sigma, builder.sample], [-1 / sigma, clean]);
          // A run that starts late has fewer slopes than its position suggests; diffusers still fits the order to the
          // position and lets the missing terms go, so their weights are dropped here too.
          const order = Math.min(i + 1, ORDER);
          const slopes = [slope, ...builder.slots].slice(0, Math.min(order, i - startStep + 1));
          const terms = slopes.map((row, k) => [adamsWeight(sigmas, i, order, k), row] as const);
          builder.push({
            timestep: timesteps[i]!,
            inputScale: 1 / Math.sqrt(sigma ** 2 + 1),
            next: combine([1, builder.sample], ...terms),
            history: [slope, ...builder.slots.slice(0, ORDER - 2)],
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

/** Integral over the step of the Lagrange polynomial that is 1 at `σ[i − k]`; cubic at most, so 2 points are exact. */
function adamsWeight(sigmas: Float64Array, i: number, order: number, k: number): number {
  const [from, to] = [sigmas[i]!, sigmas[i + 1]!];
  const lagrange = (sigma: number): number => {
    let product = 1;
    for (let j = 0; j < order; j++) {
      if (j !== k) product *= (sigma - sigmas[i - j]!) / (sigmas[i - k]! - sigmas[i - j]!);
    }
    return product;
  };
  const [middle, half] = [(from + to) / 2, (to - from) / 2];
  const node = half / Math.sqrt(3);
  return half * (lagrange(middle - node) + lagrange(middle + node));
}
