import { describe, expect, test } from 'vitest';
import { applyStep, createSampler, initialState, type SamplerOptions } from '../src/samplers/index.ts';
import { readJsonGz } from './read-json-gz.ts';

interface ParityCase {
  name: string;
  scheduler: string;
  config: Record<string, unknown>;
  steps: number;
  args: SamplerOptions;
  timesteps: number[];
  init_noise_sigma: number;
  sigmas?: number[];
  noise: number[][];
  trajectory: number[][];
}

const { cases } = readJsonGz('scheduler-parity.json.gz') as { cases: ParityCase[] };

/** Numbers recorded from float32 arithmetic; ours is float64. */
const TOLERANCE = 1e-5;

describe('sampler parity with diffusers', () => {
  test.each(cases)('$name', (recorded) => {
    const sampler = createSampler({ ...recorded.config, _class_name: recorded.scheduler });
    const plan = sampler.plan({ numInferenceSteps: recorded.steps, ...recorded.args });

    expect(relativeL2(plan.timesteps, recorded.timesteps)).toBeLessThan(TOLERANCE);
    if (recorded.sigmas) expect(relativeL2(plan.sigmas ?? [], recorded.sigmas)).toBeLessThan(TOLERANCE);
    expect(plan.initNoiseSigma / recorded.init_noise_sigma).toBeCloseTo(1, 5);
    expect(plan.noiseDraws).toBe(recorded.noise.length);

    const noise = recorded.noise.values();
    let state = initialState(
      plan,
      hashNormal('scheduler-parity', 64).map((x) => x * plan.initNoiseSigma),
    );
    plan.steps.forEach((step, i) => {
      const output = state.sample.map((x) => toyModel(x * step.inputScale, step.timestep));
      const draw = step.drawsNoise ? noise.next().value : undefined;
      state = applyStep(plan, step, state, output, draw);
      expect(relativeL2(state.sample, recorded.trajectory[i]!), `step ${i}`).toBeLessThan(TOLERANCE);
    });
  });
});

/** The elementwise stand-in for a network that the fixture was recorded with. */
function toyModel(x: number, t: number): number {
  return 0.7 * x * Math.cos(0.001 * t) + 0.1 * Math.sin(3 * x);
}

/** The fixtures' hash fill, mean 0 and deviation 1, rounded to float32. */
function hashNormal(name: string, count: number): Float64Array {
  let seed = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) seed = Math.imul(seed ^ byte, 0x01000193);
  return Float64Array.from({ length: count }, (_, i) => {
    let x = i + Math.imul(seed, 0x9e3779b9);
    x ^= x >>> 16;
    x = Math.imul(x, 0x7feb352d);
    x ^= x >>> 15;
    x = Math.imul(x, 0x846ca68b);
    x ^= x >>> 16;
    return Math.fround(3.4641016151377544 * ((x >>> 8) / 2 ** 24 - 0.5));
  });
}

function relativeL2(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let error = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(error / norm);
}
