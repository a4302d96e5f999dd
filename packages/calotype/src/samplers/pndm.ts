import { ConfigReader } from './config.ts';
import { alphaAt, alphaOf } from './ddim.ts';
import { combine, PlanBuilder } from './linear.ts';
import { ddpmBetas, noiseSchedule } from './noise-schedule.ts';
import { mixAt, prediction, signalAndNoise } from './prediction.ts';
import { resolveRun } from './run.ts';
import { spacedTimesteps } from './spacing.ts';
import type { Row, SamplerDefinition } from './types.ts';

/** History: three earlier outputs, the sample a group of calls started from, the Runge–Kutta sum. */
const slots = { outputs: 0, base: 3, sum: 4, count: 5 } as const;

/** Adams–Bashforth weights on this and earlier outputs, by how many there are. */
const adamsBashforth = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
] as const;

/**
 * Pseudo numerical methods (Liu et al., arXiv 2202.09778): linear multistep (PLMS), started either by pseudo
 * Runge–Kutta steps or, with `skip_prk_steps` as Stable Diffusion has it, by one corrected Euler step.
 */
export const pndm: SamplerDefinition = {
  names: ['pndm', 'plms'],
  className: 'PNDMScheduler',
  create(source) {
    const config = new ConfigReader('pndm', source);
    const type = config.prediction(['epsilon', 'v_prediction']);
    const schedule = noiseSchedule(config, ddpmBetas, 'unknown');
    const { alphasCumprod } = schedule;
    const finalAlpha = config.boolean('set_alpha_to_one', false) ? 1 : alphasCumprod[0]!;
    const skipRungeKutta = config.boolean('skip_prk_steps', false);
    return {
      name: 'pndm',
      className: 'PNDMScheduler',
      config: source,
      kind: 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options);
        const stride = Math.floor(schedule.steps / steps);
        const spaced = spacedTimesteps(config, schedule.steps, steps, {
          dropLast: false,
          fractional: false,
          fallback: 'leading',
        });
        if (!skipRungeKutta && steps < 4) {
          config.fail(
            'numInferenceSteps',
            `${steps} is too few for Runge–Kutta starts; use 4 or set skip_prk_steps.`,
          );
        }
        const rungeKutta = skipRungeKutta ? [] : rungeKuttaTimesteps(spaced, stride);
        const multistep = skipRungeKutta
          ? spaced.length === 1
            ? [...spaced]
            : [spaced[0]!, spaced[1]!, ...spaced.subarray(1)]
          : [...spaced.subarray(3)];
        const calls = [...rungeKutta, ...multistep].slice(startStep);

        const builder = new PlanBuilder({ sampler: 'pndm', slots: slots.count, firstIndex: startStep });
        const { sample, output } = builder;
        /** One step of equation 11: moves a sample from `t` to `next` along a given output. */
        const transfer = (base: Row, direction: Row, t: number, next: number): Row => {
          const a = alphaOf(alphasCumprod, t);
          const b = alphaAt(alphasCumprod, next, finalAlpha);
          const denominator = a * Math.sqrt(1 - b) + Math.sqrt(a * (1 - a) * b);
          const { alpha, sigma } = signalAndNoise(a);
          const { epsilon } = prediction(type, alpha, sigma);
          const noise = combine([epsilon.sample, base], [epsilon.output, direction]);
          return combine([Math.sqrt(b / a), base], [-(b - a) / denominator, noise]);
        };
        const outputs = builder.slots.slice(slots.outputs, slots.base);
        const base = builder.slots[slots.base]!;
        const sum = builder.slots[slots.sum]!;
        let known = 0;

        calls.forEach((t, counter) => {
          const history: (Row | undefined)[] = [];
          const remember = (): void => {
            history[0] = output;
            history[1] = outputs[0];
            history[2] = outputs[1];
            known++;
          };
          let next: Row;
          if (counter < rungeKutta.length) {
            const stage = counter % 4;
            const target = t - (counter % 2 === 1 ? 0 : Math.floor(stride / 2));
            const from = rungeKutta[counter - stage]!;
            if (stage === 0) {
              remember();
              history[slots.base] = sample;
              history[slots.sum] = combine([1 / 6, output]);
              next = transfer(sample, output, from, target);
            } else if (stage < 3) {
              history[slots.sum] = combine([1, sum], [1 / 3, output]);
              next = transfer(base, output, from, target);
            } else {
              next = transfer(base, combine([1, sum], [1 / 6, output]), from, target);
            }
          } else if (counter === 1) {
            // The first step once more, now with the mean of the slopes at both its ends.
            next = transfer(base, combine([0.5, output], [0.5, outputs[0]!]), t + stride, t);
          } else {
            remember();
            if (counter === 0) history[slots.base] = sample;
            const weights = adamsBashforth[Math.min(known, 4) - 1]!;
            const recent = [output, ...outputs];
            const direction = combine(...weights.map((weight, i) => [weight, recent[i]!] as const));
            next = transfer(sample, direction, t, t - stride);
          }
          const alphaBar = alphaOf(alphasCumprod, t);
          const { alpha, sigma } = signalAndNoise(alphaBar);
          const { x0 } = prediction(type, alpha, sigma);
          builder.predictX0(x0.sample, x0.output);
          builder.push({ timestep: t, next, history, noised: mixAt(alphaBar) });
        });
        return builder.finish({ initNoiseSigma: 1 });
      },
    };
  },
};

/** Each of the three noisiest intervals is visited at its start, twice at its middle, and at its end. */
function rungeKuttaTimesteps(spaced: Float64Array, stride: number): number[] {
  const half = Math.floor(stride / 2);
  return [0, 1, 2].flatMap((i) => [spaced[i]!, spaced[i + 1]! + half, spaced[i + 1]! + half, spaced[i + 1]!]);
}
