import { ConfigReader } from './config.ts';
import { alphaOf } from './ddim.ts';
import { level, type Level } from './lambda.ts';
import { combine, PlanBuilder } from './linear.ts';
import { ddpmBetas, noiseSchedule } from './noise-schedule.ts';
import { mixAt, prediction } from './prediction.ts';
import { resolveRun } from './run.ts';
import { solverSchedule } from './sigma-schedule.ts';
import { checkFlow } from './solver-flow.ts';
import type { Row, SamplerDefinition } from './types.ts';

/** Timesteps between which noise is injected, as the reference has it by default. */
const STOCHASTIC = { from: 200, to: 800 };

/** Stochastic Adams predictor and corrector (Xue et al., arXiv 2309.05019). */
export const saSolver: SamplerDefinition = {
  names: ['sa-solver'],
  className: 'SASolverScheduler',
  create(source) {
    const config = new ConfigReader('sa-solver', source);
    config.refuseThresholding();
    config.refuseLearnedVariance();
    if ((source['tau_func'] ?? null) !== null)
      config.fail('tau_func', 'a function cannot come from a config.');
    const algorithms = ['data_prediction', 'noise_prediction'] as const;
    const data = config.oneOf('algorithm_type', algorithms, 'data_prediction') === 'data_prediction';
    const type = config.prediction(
      data ? ['epsilon', 'v_prediction', 'sample', 'flow_prediction'] : ['epsilon', 'v_prediction', 'sample'],
    );
    const flow = checkFlow(config, type);
    const schedule = noiseSchedule(config, ddpmBetas, 'unknown');
    const predictorOrder = config.integer('predictor_order', 2);
    const correctorOrder = config.integer('corrector_order', 2);
    if (predictorOrder < 1 || predictorOrder > 4) config.fail('predictor_order', 'expected 1 to 4.');
    if (correctorOrder < 1 || correctorOrder > 4) config.fail('corrector_order', 'expected 1 to 4.');
    const lowerOrderFinal = config.boolean('lower_order_final', true);
    const kept = Math.max(predictorOrder, correctorOrder - 1);
    return {
      name: 'sa-solver',
      className: 'SASolverScheduler',
      config: source,
      kind: flow ? 'flow' : 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options);
        const { timesteps, sigmas } = solverSchedule(config, schedule, steps, options, {
          supported: ['karras', 'exponential', 'beta', 'flow'],
          placedEnd: 'repeat',
          interpolatedEnd: 'sigma_min',
          spaced: true,
          lambdaClipping: true,
        });
        const levels = [...sigmas].map((sigma) => level(sigma, flow));
        const count = timesteps.length;
        // History: earlier predictions, the sample and the noise of the last predictor.
        const builder = new PlanBuilder({ sampler: 'sa-solver', slots: kept + 2, firstIndex: startStep });
        const earlier = builder.slots.slice(0, kept);
        const [lastSample, lastNoise] = [builder.slots[kept]!, builder.slots[kept + 1]!];
        const tauAt = (i: number): number =>
          timesteps[i]! >= STOCHASTIC.from && timesteps[i]! <= STOCHASTIC.to ? 1 : 0;
        let lastCorrectorOrder = 0;
        for (let i = startStep; i < count; i++) {
          const now = levels[i]!;
          const { x0, epsilon } = prediction(type, now.alpha, now.sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          const value = data
            ? clean
            : combine([epsilon.sample, builder.sample], [epsilon.output, builder.output]);
          const values = [value, ...earlier];
          let sample = builder.sample;
          if (i > startStep) {
            sample = adamsStep({
              data,
              tau: tauAt(i - 1),
              from: levels[i - 1]!,
              to: now,
              start: lastSample,
              noise: lastNoise,
              // The corrector's polynomial also passes through the prediction at the level stepped to.
              nodes: Array.from({ length: lastCorrectorOrder }, (_, k) => levels[i - k]!),
              values,
              correcting: true,
            });
          }
          const left = count - i;
          const known = i - startStep + 1;
          const order = Math.min(predictorOrder, known, lowerOrderFinal ? left : predictorOrder);
          lastCorrectorOrder = Math.min(
            correctorOrder,
            known + 1,
            lowerOrderFinal ? left + 1 : correctorOrder,
          );
          builder.push({
            timestep: timesteps[i]!,
            next: adamsStep({
              data,
              tau: tauAt(i),
              from: now,
              to: levels[i + 1]!,
              start: sample,
              noise: builder.noise,
              nodes: Array.from({ length: order }, (_, k) => levels[i - k]!),
              values,
              correcting: false,
            }),
            history: [value, ...earlier.slice(0, -1), sample, builder.noise],
            drawsNoise: true,
            noised: mixAt(alphaOf(schedule.alphasCumprod, timesteps[i]!)),
          });
        }
        return builder.finish({ initNoiseSigma: 1, sigmas: sigmas.slice(startStep) });
      },
    };
  },
};

/** One stochastic Adams step: exact linear part, the prediction as a polynomial in λ through `nodes`, noise by `tau`. */
function adamsStep(step: {
  data: boolean;
  tau: number;
  from: Level;
  to: Level;
  start: Row;
  noise: Row;
  nodes: readonly Level[];
  values: readonly Row[];
  correcting: boolean;
}): Row {
  const { data, tau, from, to, nodes, values } = step;
  const h = to.lambda - from.lambda;
  const rate = 1 + tau ** 2;
  // In data space the weight function is e^(rate·(λ − λ_to)), in noise space e^−(λ − λ_to); both are 1 at the end.
  const weights = lagrangeIntegrals(
    nodes.map((node) => node.lambda - to.lambda),
    -h,
    data ? rate : -1,
  );
  if (data && nodes.length === 2) {
    // A change of third order in h that the authors found to help with few steps.
    const bend = h ** 2 / 2 - (h * rate - 1 + Math.exp(-rate * h)) / rate ** 2;
    const change = bend / (step.correcting ? h : from.lambda - nodes[1]!.lambda);
    weights[0]! += change;
    weights[1]! -= change;
  }
  const scale = data ? rate * to.alpha : -rate * to.sigma;
  const terms = weights.map((weight, k): readonly [number, Row] => [scale * weight, values[k]!]);
  const noise = data
    ? to.sigma * Math.sqrt(-Math.expm1(-2 * tau ** 2 * h))
    : tau * to.sigma * Math.sqrt(Math.expm1(2 * h));
  const decay = data ? Math.exp(-(tau ** 2) * h) * (to.sigma / from.sigma) : to.alpha / from.alpha;
  return combine([decay, step.start], ...terms, [noise, step.noise]);
}

/** ∫ from `start` to 0 of e^(rate·x) times each Lagrange polynomial through `nodes`. */
function lagrangeIntegrals(nodes: readonly number[], start: number, rate: number): number[] {
  const moments = exponentialMoments(nodes.length, start, rate);
  return nodes.map((node, i) => {
    let polynomial = [1];
    for (const [j, other] of nodes.entries()) {
      if (j === i) continue;
      const scaled = polynomial.map((c) => c / (node - other));
      polynomial = [...scaled.map((c) => -c * other), 0];
      scaled.forEach((c, k) => (polynomial[k + 1]! += c));
    }
    return polynomial.reduce((sum, c, k) => sum + c * moments[k]!, 0);
  });
}

/** ∫ from `start` to 0 of x^k · e^(rate·x), for k below `count`, by parts. */
function exponentialMoments(count: number, start: number, rate: number): number[] {
  const moments = [-Math.expm1(rate * start) / rate];
  for (let k = 1; k < count; k++) {
    moments.push((-(start ** k) * Math.exp(rate * start) - k * moments[k - 1]!) / rate);
  }
  return moments;
}
