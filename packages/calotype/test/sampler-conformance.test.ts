import { describe, expect, test } from 'vitest';
import { createSampler, type SamplerOptions, type SchedulerConfig } from '../src/samplers/index.ts';
import { DATA_SIGMA, runGaussian } from './gaussian-model.ts';

const stableDiffusion: SchedulerConfig = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  clip_sample: false,
  skip_prk_steps: true,
  set_alpha_to_one: true,
  steps_offset: 1,
};
const karras = { use_karras_sigmas: true };
const flow = { prediction_type: 'flow_prediction', use_flow_sigmas: true, flow_shift: 3 };
const noiseSpace = { algorithm_type: 'dpmsolver', final_sigmas_type: 'sigma_min' };

/** Relative error of the result after 40 steps of an ideal network on Gaussian data; its limit is the schedule's end. */
const deterministic: [name: string, config: SchedulerConfig, tolerance: number][] = [
  ['ddim', {}, 0.07],
  ['pndm', {}, 0.005],
  ['pndm', { skip_prk_steps: false }, 0.005],
  ['euler', karras, 0.05],
  ['euler', { use_exponential_sigmas: true }, 0.05],
  ['euler', { use_beta_sigmas: true }, 0.13],
  ['heun', karras, 0.003],
  ['lms', karras, 0.001],
  ['kdpm2', karras, 0.001],
  ['dpm++-2m', { solver_order: 1, ...karras }, 0.05],
  ['dpm++-2m', { solver_order: 2, ...karras }, 0.003],
  ['dpm++-2m', { solver_order: 2, solver_type: 'heun', ...karras }, 0.005],
  ['dpm++-2m', { solver_order: 3, ...karras }, 0.002],
  ['dpm++-2m', { use_lu_lambdas: true }, 0.001],
  ['dpm++-2m', { solver_order: 2, solver_type: 'heun', ...noiseSpace }, 0.025],
  ['dpm++-2m', { solver_order: 3, ...noiseSpace }, 0.01],
  ['dpm++-2m', flow, 0.01],
  ['dpm++-2s', { solver_order: 2, ...karras }, 0.02],
  ['dpm++-2s', { solver_order: 3, ...karras }, 0.02],
  ['dpm++-2s', { solver_order: 3, solver_type: 'heun', ...karras }, 0.02],
  ['dpm++-2s', { solver_order: 3, solver_type: 'heun', ...noiseSpace }, 0.03],
  ['dpm++-2s', flow, 0.04],
  ['unipc', { solver_order: 1, ...karras }, 0.02],
  ['unipc', { solver_order: 2, ...karras }, 0.005],
  ['unipc', { solver_order: 3, solver_type: 'bh1', ...karras }, 0.005],
  ['unipc', { solver_order: 4, ...karras }, 0.005],
  ['unipc', { predict_x0: false, final_sigmas_type: 'sigma_min', ...karras }, 0.01],
  ['unipc', { disable_corrector: [0, 1, 2], ...karras }, 0.01],
  ['unipc', flow, 0.005],
  ['deis', { solver_order: 2, ...karras }, 0.002],
  ['deis', { solver_order: 3, ...karras }, 0.002],
  ['flow-euler', { shift: 3 }, 0.08],
  ['flow-heun', { shift: 3 }, 0.001],
];

/** Relative error of the result's deviation after 40 steps. */
const stochastic: [name: string, config: SchedulerConfig, options: SamplerOptions, tolerance: number][] = [
  ['ddim', {}, { eta: 1 }, 0.12],
  ['ddpm', {}, {}, 0.12],
  ['euler-ancestral', {}, {}, 0.13],
  ['euler', {}, { churn: { amount: 10 } }, 0.08],
  ['dpm++-2m', { algorithm_type: 'sde-dpmsolver++', ...karras }, {}, 0.02],
  ['dpm++-2m', { algorithm_type: 'sde-dpmsolver++', solver_type: 'heun', ...karras }, {}, 0.02],
  ['dpm++-2m', { algorithm_type: 'sde-dpmsolver', final_sigmas_type: 'sigma_min' }, {}, 0.06],
  ['dpm++-2s', { algorithm_type: 'sde-dpmsolver++', ...karras }, {}, 0.15],
  ['dpm-sde', karras, {}, 0.01],
  ['kdpm2-ancestral', karras, {}, 0.01],
  ['sa-solver', {}, {}, 0.03],
  ['sa-solver', karras, {}, 0.01],
  ['sa-solver', { predictor_order: 3, corrector_order: 4 }, {}, 0.03],
  ['sa-solver', { algorithm_type: 'noise_prediction' }, {}, 0.04],
];

describe('deterministic samplers reach what the exact flow reaches', () => {
  test.each(deterministic)('%s %j', (name, config, tolerance) => {
    const sampler = createSampler(name, { ...stableDiffusion, ...config });
    const { startWeight, expected } = runGaussian(sampler, { numInferenceSteps: 40 });
    expect(Math.abs(startWeight / expected - 1)).toBeLessThan(tolerance);
  });
});

describe('stochastic samplers keep the deviation of the data', () => {
  test.each(stochastic)('%s %j %j', (name, config, options, tolerance) => {
    const sampler = createSampler(name, { ...stableDiffusion, ...config });
    const { deviation } = runGaussian(sampler, { numInferenceSteps: 40, ...options });
    expect(Math.abs(deviation / DATA_SIGMA - 1)).toBeLessThan(tolerance);
  });
});

describe('prediction types are readings of one network', () => {
  const names = [
    'ddim',
    'euler',
    'heun',
    'lms',
    'dpm++-2m',
    'dpm++-2s',
    'unipc',
    'deis',
    'ddpm',
    'lcm',
    'tcd',
  ];
  const pairs: [name: string, type: string][] = [
    ...names.flatMap((name): [string, string][] => [
      [name, 'v_prediction'],
      [name, 'sample'],
    ]),
    ['euler-ancestral', 'v_prediction'],
    ['kdpm2', 'v_prediction'],
    ['sa-solver', 'sample'],
  ];
  test.each(pairs)('%s, %s', (name, type) => {
    const run = (prediction_type: string) =>
      runGaussian(createSampler(name, { ...stableDiffusion, prediction_type }), { numInferenceSteps: 12 });
    const [epsilon, other] = [run('epsilon'), run(type)];
    expect(other.startWeight).toBeCloseTo(epsilon.startWeight, 7);
    expect(other.deviation).toBeCloseTo(epsilon.deviation, 7);
  });
});
