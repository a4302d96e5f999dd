import { ConfigReader } from './config.ts';
import { dynamicallyShifted, shifted, stretched } from './flow-schedule.ts';
import { level, solve, type Level } from './lambda.ts';
import { combine, PlanBuilder } from './linear.ts';
import { ddpmBetas, noiseSchedule } from './noise-schedule.ts';
import { prediction } from './prediction.ts';
import { resolveRun } from './run.ts';
import { solverSchedule } from './sigma-schedule.ts';
import { checkFlow } from './solver-flow.ts';
import type { Row, SamplerDefinition, SamplerOptions } from './types.ts';

/** Keeps the first level off pure noise, where λ is −∞. */
const BELOW_ONE = 1e-6;

/** UniPC: a predictor, and a corrector that reuses the same model call (Zhao et al., arXiv 2302.04867). */
export const unipc: SamplerDefinition = {
  names: ['unipc'],
  className: 'UniPCMultistepScheduler',
  create(source) {
    const config = new ConfigReader('unipc', source);
    config.refuseThresholding();
    if ((source['solver_p'] ?? null) !== null)
      config.fail('solver_p', 'another predictor cannot be plugged in.');
    const predictX0 = config.boolean('predict_x0', true);
    const type = config.prediction(
      predictX0
        ? ['epsilon', 'v_prediction', 'sample', 'flow_prediction']
        : ['epsilon', 'v_prediction', 'sample'],
    );
    const flow = checkFlow(config, type, true);
    const schedule = noiseSchedule(config, ddpmBetas, 'floored');
    const maxOrder = config.integer('solver_order', 2);
    if (maxOrder < 1 || maxOrder > 4) config.fail('solver_order', `expected 1 to 4, got ${maxOrder}.`);
    const lowerOrderFinal = config.boolean('lower_order_final', true);
    const kinds = ['bh1', 'bh2', 'midpoint', 'heun', 'logrho'] as const;
    const linearB = config.oneOf('solver_type', kinds, 'bh2') === 'bh1';
    const uncorrected = new Set(config.numbers('disable_corrector') ?? []);
    const zeroEnd = config.oneOf('final_sigmas_type', ['zero', 'sigma_min'], 'zero') === 'zero';

    const flowFromOne = (sigmas: Float64Array, options: SamplerOptions): Float64Array => {
      const moved = config.boolean('use_dynamic_shifting', false)
        ? dynamicallyShifted(config, sigmas, sigmas.length, options)
        : shifted(sigmas, config.number('flow_shift', 1));
      const levels = stretched(config, moved);
      if (Math.abs(levels[0]! - 1) < BELOW_ONE) levels[0]! -= BELOW_ONE;
      return levels;
    };
    return {
      name: 'unipc',
      className: 'UniPCMultistepScheduler',
      config: source,
      kind: flow ? 'flow' : 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options, { custom: flow ? ['sigmas'] : [] });
        const { timesteps, sigmas } = solverSchedule(config, schedule, steps, options, {
          supported: ['karras', 'exponential', 'beta', 'flow'],
          placedEnd: zeroEnd ? 'zero' : 'repeat',
          interpolatedEnd: zeroEnd ? 'zero' : 'sigma_min',
          spaced: true,
          karrasFlow: true,
          flowFromOne: (base) => flowFromOne(base, options),
        });
        const levels = [...sigmas].map((sigma) => level(sigma, flow));
        const count = timesteps.length;
        // History: earlier predictions, then the sample the last predictor started from.
        const builder = new PlanBuilder({ sampler: 'unipc', slots: maxOrder + 1, firstIndex: startStep });
        const earlier = builder.slots.slice(0, maxOrder);
        const lastSample = builder.slots[maxOrder]!;
        let lastOrder = 0;
        for (let i = startStep; i < count; i++) {
          const now = levels[i]!;
          const { x0, epsilon } = prediction(type, now.alpha, now.sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          const value = predictX0
            ? clean
            : combine([epsilon.sample, builder.sample], [epsilon.output, builder.output]);
          let sample = builder.sample;
          if (i > startStep && !uncorrected.has(i - 1)) {
            const past = Array.from({ length: lastOrder }, (_, k) => levels[i - 1 - k]!);
            sample = uniStep({
              from: lastSample,
              to: now,
              past,
              values: earlier,
              newest: value,
              predictX0,
              linearB,
            });
          }
          const allowed = lowerOrderFinal ? Math.min(maxOrder, count - i) : maxOrder;
          lastOrder = Math.min(allowed, i - startStep + 1);
          const past = Array.from({ length: lastOrder }, (_, k) => levels[i - k]!);
          const values = [value, ...earlier];
          builder.push({
            timestep: timesteps[i]!,
            next: uniStep({ from: sample, to: levels[i + 1]!, past, values, predictX0, linearB }),
            history: [value, ...earlier.slice(0, -1), sample],
            noised: { x0: now.alpha, noise: now.sigma },
          });
        }
        return builder.finish({ initNoiseSigma: 1, sigmas: sigmas.slice(startStep) });
      },
    };
  },
};

/**
 * The update both halves share (equations 3 and 8 of the paper): with `newest`, the prediction at the level stepped
 * to, it is the corrector; without, the predictor.
 */
function uniStep(step: {
  from: Row;
  to: Level;
  /** Levels of the known predictions, newest first. */
  past: readonly Level[];
  /** Those predictions, newest first. */
  values: readonly Row[];
  newest?: Row;
  predictX0: boolean;
  linearB: boolean;
}): Row {
  const { from, to, past, values, newest, predictX0, linearB } = step;
  const order = past.length;
  const start = past[0]!;
  const h = to.lambda - start.lambda;
  const hh = predictX0 ? -h : h;
  const phi1 = Math.expm1(hh);
  const scale = linearB ? hh : phi1;
  const ratios = past.slice(1).map((level) => (level.lambda - start.lambda) / h);

  const weights = newest
    ? order === 1
      ? [0.5]
      : polynomialWeights([...ratios, 1], hh, scale)
    : order === 1
      ? []
      : order === 2
        ? [0.5]
        : polynomialWeights(ratios, hh, scale);

  const amount = (predictX0 ? to.alpha : to.sigma) * scale;
  const terms: [number, Row][] = [
    [predictX0 ? to.sigma / start.sigma : to.alpha / start.alpha, from],
    [-(predictX0 ? to.alpha : to.sigma) * phi1, values[0]!],
  ];
  const addDifference = (weight: number, row: Row): void => {
    terms.push([-amount * weight, row], [amount * weight, values[0]!]);
  };
  ratios.forEach((ratio, k) => addDifference(weights[k]! / ratio, values[k + 1]!));
  if (newest) addDifference(weights[weights.length - 1]!, newest);
  return combine(...terms);
}

/** Weights on the differences that make the step exact for polynomials, from the φ functions of exponential methods. */
function polynomialWeights(ratios: readonly number[], hh: number, scale: number): number[] {
  const matrix: number[][] = [];
  const right: number[] = [];
  let phi = Math.expm1(hh) / hh - 1;
  let factorial = 1;
  for (let k = 1; k <= ratios.length; k++) {
    matrix.push(ratios.map((ratio) => ratio ** (k - 1)));
    right.push((phi * factorial) / scale);
    factorial *= k + 1;
    phi = phi / hh - 1 / factorial;
  }
  return solve(matrix, right);
}
