import { describe, expect, test } from 'vitest';
import { applyStep, createSampler, initialState, type SamplerOptions } from '../src/samplers/index.ts';
import { relativeL2 } from './numbers.ts';
import { readJsonGz } from './read-json-gz.ts';
import { hashNormal, toyModel } from './toy-model.ts';

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
