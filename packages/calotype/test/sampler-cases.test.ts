import { describe, expect, test } from 'vitest';
import { applyStep, createSampler, initialState, type SamplerOptions } from '../src/samplers/index.ts';
import { relativeL2 } from './numbers.ts';
import { readJsonGz } from './read-json-gz.ts';
import { hashNormal, toyModel } from './toy-model.ts';

/** Settings and step counts that diffusers' recorded cases leave out, drawn at random for every class. */
interface Case {
  scheduler: string;
  config: Record<string, unknown>;
  options: SamplerOptions;
  /** Model calls in all. */
  calls: number;
  noiseDraws: number;
  initNoiseSigma: number;
  /** Of the calls that `samples` has, in order. */
  timesteps: number[];
  /** After the first, the middle and the last call. */
  samples: Record<string, number[]>;
}

// Computed with NumPy, from a transcription of diffusers' classes that gives its recorded cases to 1e-6: schedules in
// float32 as there, updates in float64. The model is that of the recorded cases.
const { cases } = readJsonGz('sampler-cases.json.gz') as { cases: Case[] };

test('every class that diffusers has recorded cases of is here', () => {
  expect(new Set(cases.map(({ scheduler }) => scheduler)).size).toBe(18);
});

describe('samples', () => {
  test.each(cases)('$scheduler $config $options', ({ scheduler, config, options, ...recorded }) => {
    const plan = createSampler({ ...config, _class_name: scheduler }).plan(options);
    expect(plan.steps).toHaveLength(recorded.calls);
    expect(plan.noiseDraws).toBe(recorded.noiseDraws);
    expect(plan.initNoiseSigma / recorded.initNoiseSigma).toBeCloseTo(1, 6);
    const kept = Object.keys(recorded.samples).map(Number);
    const timesteps = kept.map((i) => plan.timesteps[i]!);
    for (const [i, timestep] of timesteps.entries()) {
      expect(timestep).toBeCloseTo(recorded.timesteps[i]!, 3);
    }
    let draws = 0;
    const start = hashNormal('scheduler-parity', 8).map((x) => x * plan.initNoiseSigma);
    let state = initialState(plan, start);
    plan.steps.forEach((step, i) => {
      const output = state.sample.map((x) => toyModel(x * step.inputScale, step.timestep));
      const noise = step.drawsNoise ? hashNormal(`noise-${draws++}`, 8) : undefined;
      state = applyStep(plan, step, state, output, noise);
      const expected = recorded.samples[i];
      if (expected) expect(relativeL2(state.sample, expected), `call ${i}`).toBeLessThan(1e-5);
    });
  });
});
