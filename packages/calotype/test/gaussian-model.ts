import { assertNever } from '../src/samplers/assert-never.ts';
import {
  applyStep,
  initialState,
  type Sampler,
  type SamplerOptions,
  type SamplerStep,
} from '../src/samplers/index.ts';

/** Deviation of the data in {@link runGaussian}; any value but 1, where every noise level looks alike. */
export const DATA_SIGMA = 0.5;

/** What the ideal network for Gaussian data says, as a factor on the (unscaled) sample. */
function idealOutput(sampler: Sampler, step: SamplerStep): number {
  // A scaled input tells the level itself; second-order samplers visit levels that `noised` does not name.
  const scaled = step.inputScale !== 1;
  const alpha = scaled ? 1 : step.noised.x0;
  const sigma = scaled ? Math.sqrt(1 / step.inputScale ** 2 - 1) : step.noised.noise;
  const variance = (alpha * DATA_SIGMA) ** 2 + sigma ** 2;
  const x0 = (alpha * DATA_SIGMA ** 2) / variance;
  const epsilon = sigma / variance;
  switch (sampler.predictionType) {
    case 'epsilon':
      return epsilon;
    case 'sample':
      return x0;
    case 'flow_prediction':
      return epsilon - x0;
    case 'v_prediction': {
      const norm = Math.hypot(alpha, sigma);
      return (alpha * epsilon - sigma * x0) / norm;
    }
    default:
      return assertNever(sampler.predictionType);
  }
}

/**
 * Runs a sampler on one-dimensional Gaussian data with an ideal network.
 *
 * Everything is linear, so the sample is carried as its weights on the start noise and on every draw; the exact answer
 * is known: the deviation of the result is {@link DATA_SIGMA}, and a deterministic sampler scales the start by
 * `expected`.
 */
export function runGaussian(
  sampler: Sampler,
  options: SamplerOptions,
): { startWeight: number; deviation: number; expected: number } {
  const plan = sampler.plan(options);
  const unit = (at: number): Float64Array => {
    const vector = new Float64Array(1 + plan.noiseDraws);
    vector[at] = 1;
    return vector;
  };
  const [first] = plan.steps;
  const start = unit(0).map((x) => x * plan.initNoiseSigma);
  let state = initialState(plan, start);
  let draws = 0;
  for (const step of plan.steps) {
    const factor = idealOutput(sampler, step);
    const noise = step.drawsNoise ? unit(1 + draws++) : undefined;
    state = applyStep(
      plan,
      step,
      state,
      state.sample.map((x) => x * factor),
      noise,
    );
  }
  const { x0: alpha, noise: sigma } = first!.noised;
  const startDeviation = Math.sqrt((alpha * DATA_SIGMA) ** 2 + sigma ** 2);
  return {
    startWeight: state.sample[0]!,
    deviation: Math.sqrt(state.sample.reduce((sum, x) => sum + x * x, 0)),
    expected: (plan.initNoiseSigma * DATA_SIGMA) / startDeviation,
  };
}
