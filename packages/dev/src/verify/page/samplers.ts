import { applyStep, createSampler, initialState, type SamplerOptions } from 'calotype';
import { hashFill } from '../../hash-fill.ts';
import type { FixtureOf, Verdict } from '../types.ts';
import { difference, worse, type Difference } from './metrics.ts';
import { fetchFixture } from './reference.ts';

/** One entry of `scheduler-parity.json`. */
interface SamplerCase {
  name: string;
  scheduler: string;
  config: Record<string, unknown>;
  steps: number;
  args: SamplerOptions;
  timesteps: number[];
  init_noise_sigma: number;
  noise: number[][];
  trajectory: number[][];
}

/** Rounding of diffusers' float32 over a run. */
const bar = 1e-4;

/** Every case step by step, by the plan's reference interpreter; figures are the worst of all. */
export async function verifySamplers({ file }: FixtureOf<'samplers'>): Promise<Verdict> {
  const { cases } = JSON.parse(new TextDecoder().decode(await fetchFixture(file))) as {
    cases: SamplerCase[];
  };
  const problems: string[] = [];
  let total: Difference = { maxAbs: 0, relL2: 0 };
  for (const item of cases) {
    try {
      const found = runCase(item);
      total = worse(total, found);
      if (!(found.relL2 <= bar)) problems.push(`${item.name}: relative L2 ${found.relL2.toExponential(2)}`);
    } catch (error) {
      problems.push(`${item.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return {
    status: problems.length ? 'failed' : 'passed',
    path: 'plans, float64',
    ...total,
    detail: [`${cases.length - problems.length} of ${cases.length} cases`, ...problems].join('\n'),
  };
}

function runCase({
  scheduler,
  config,
  steps,
  args,
  timesteps,
  noise,
  trajectory,
  ...item
}: SamplerCase): Difference {
  const plan = createSampler({ ...config, _class_name: scheduler }).plan({
    numInferenceSteps: steps,
    ...args,
  });
  const schedule = difference(plan.timesteps, timesteps);
  if (!(schedule.relL2 <= 1e-6))
    throw new Error(`timesteps ${plan.timesteps.join(', ')}, not ${timesteps.join(', ')}`);
  if (Math.abs(plan.initNoiseSigma / item.init_noise_sigma - 1) > 1e-5) {
    throw new Error(`init_noise_sigma ${plan.initNoiseSigma}, not ${item.init_noise_sigma}`);
  }
  const start = Float64Array.from(
    hashFill('scheduler-parity', trajectory[0]!.length),
    (x) => x * plan.initNoiseSigma,
  );
  let state = initialState(plan, start);
  let draws = 0;
  let total: Difference = { maxAbs: 0, relL2: 0 };
  for (const [i, step] of plan.steps.entries()) {
    const output = state.sample.map((sample) => model(sample * step.inputScale, step.timestep));
    state = applyStep(plan, step, state, output, step.drawsNoise ? noise[draws++] : undefined);
    total = worse(total, difference(state.sample, trajectory[i]!));
  }
  if (draws !== noise.length) throw new Error(`${draws} draws of noise, not ${noise.length}`);
  return total;
}

/** The model that the cases were recorded with. */
function model(x: number, timestep: number): number {
  return 0.7 * x * Math.cos(0.001 * timestep) + 0.1 * Math.sin(3 * x);
}
