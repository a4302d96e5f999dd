import { describe, expect, test } from 'vitest';
import { SamplerError } from '../src/errors.ts';
import {
  applyStep,
  columns,
  combine,
  createSampler,
  flux2Shift,
  initialState,
  packedHeader,
  packPlan,
  PlanBuilder,
  registerSampler,
  samplerNames,
  samplerNamesFor,
  unknownFields,
  type SamplerOptions,
  type SchedulerConfig,
} from '../src/samplers/index.ts';

const stable: SchedulerConfig = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  clip_sample: false,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
};

describe('every sampler', () => {
  test.each(samplerNames())('%s makes finite plans that write before they read', (name) => {
    for (const timestep_spacing of ['linspace', 'leading', 'trailing']) {
      for (const numInferenceSteps of [1, 2, 3, 4, 5, 7, 12, 16, 25, 50]) {
        if (name === 'lcm' || name === 'tcd' || numInferenceSteps < 50) {
          const plan = createSampler(name, { ...stable, timestep_spacing }).plan({ numInferenceSteps });
          let state = initialState(plan, [1, -1]);
          for (const step of plan.steps) {
            const noise = step.drawsNoise ? [0.1, 0.2] : undefined;
            state = applyStep(plan, step, state, state.sample, noise);
            // A slot that was read before its first write would have put its NaN here.
            expect(state.sample.every(Number.isFinite)).toBe(true);
          }
          expect(plan.timesteps.length).toBe(plan.steps.length);
        }
      }
    }
  });

  test.each(samplerNames())('%s starts in the middle for image-to-image', (name) => {
    const sampler = createSampler(name, stable);
    const whole = sampler.plan({ numInferenceSteps: 10 });
    const part = sampler.plan({ numInferenceSteps: 10, startStep: 4 });
    const skipped = 4 * sampler.callsPerStep;
    expect(part.timesteps).toEqual(whole.timesteps.slice(skipped));
    expect(part.steps[0]!.index).toBe(skipped);
    expect(part.steps[0]!.noised).toEqual(whole.steps[skipped]!.noised);
    let state = initialState(part, [1]);
    for (const step of part.steps) state = applyStep(part, step, state, [0.3], [0.1]);
    expect(state.sample.every(Number.isFinite)).toBe(true);
  });
});

describe('choosing', () => {
  test('takes the class from the config and the rest from the model', () => {
    const sampler = createSampler(
      { _class_name: 'EulerDiscreteScheduler' },
      { ...stable, timestep_spacing: 'leading' },
    );
    expect(sampler.name).toBe('euler');
    expect([...sampler.plan({ numInferenceSteps: 4 }).timesteps]).toEqual([751, 501, 251, 1]);
  });

  test('knows class names, friendly names and presets, however written', () => {
    expect(createSampler('DPMSolverMultistepScheduler').name).toBe('dpm++-2m');
    expect(createSampler('Euler A').name).toBe('euler-ancestral');
    expect(createSampler('DPM++ 2M Karras').config['use_karras_sigmas']).toBe(true);
  });

  test('takes a registered sampler', () => {
    registerSampler({
      names: ['half'],
      className: 'HalfScheduler',
      create: (config) => ({
        ...createSampler('ddim', config),
        name: 'half',
        className: 'HalfScheduler',
        plan() {
          const builder = new PlanBuilder({ sampler: 'half', firstIndex: 0 });
          builder.predictX0(1, 0);
          builder.push({ timestep: 1, next: combine([0.5, builder.sample]), noised: { x0: 1, noise: 1 } });
          return builder.finish({ initNoiseSigma: 1 });
        },
      }),
    });
    const plan = createSampler({ _class_name: 'HalfScheduler' }).plan({});
    expect([...applyStep(plan, plan.steps[0]!, initialState(plan, [4]), [0]).sample]).toEqual([2]);
    expect(samplerNames()).toContain('half');
  });
});

describe('strength', () => {
  test.each([
    [8, 0.6, 4],
    [100, 0.29, 28],
    [10, 1, 10],
    [1, 1, 1],
  ])('%i steps at %f run %i', (numInferenceSteps, strength, runs) => {
    const plan = createSampler('ddim', stable).plan({ numInferenceSteps, strength });
    expect(plan.steps).toHaveLength(runs);
    expect(createSampler('heun', stable).plan({ numInferenceSteps, strength }).steps).toHaveLength(
      2 * runs - 1,
    );
  });

  test('flows keep the step that the share cuts through', () => {
    expect(createSampler('flow-euler').plan({ numInferenceSteps: 8, strength: 0.6 }).steps).toHaveLength(5);
  });

  test('LCM can take all its steps from a part of the training schedule', () => {
    const plan = createSampler('lcm', stable).plan({ numInferenceSteps: 4, scheduleStrength: 0.5 });
    expect([...plan.timesteps]).toEqual([499, 379, 259, 139]);
  });
});

describe('clamping', () => {
  test('DDIM clamps the clean sample and not the noise', () => {
    const plan = createSampler('ddim', { ...stable, clip_sample: true, clip_sample_range: 0.5 }).plan({
      numInferenceSteps: 2,
    });
    expect(plan.clampX0).toBe(0.5);
    const step = plan.steps[0]!;
    expect(step.sample[columns.x0]).toBeGreaterThan(0);
    const [loose, tight] = [100, 200].map(
      (x) => applyStep(plan, step, initialState(plan, [x]), [1]).sample[0]!,
    );
    expect(loose).toBe(tight);
  });
});

describe('flow shift', () => {
  const config = { use_dynamic_shifting: true, base_shift: 0.5, max_shift: 1.15, shift: 3 };

  test('comes from the image size', () => {
    const sampler = createSampler('flow-euler', config);
    const plan = (options: SamplerOptions): number[] => [
      ...(sampler.plan({ numInferenceSteps: 4, ...options }).sigmas ?? []),
    ];
    expect(plan({ imageSeqLen: 256 })).toEqual(plan({ mu: 0.5 }));
    expect(plan({ imageSeqLen: 4096 })).toEqual(plan({ mu: 1.15 }));
  });

  test('FLUX.2 fits it to size and steps', () => {
    expect(flux2Shift(4096, 50)).toBeCloseTo(2.0, 0);
    expect(flux2Shift(8192, 10)).toBe(flux2Shift(8192, 50));
  });

  test('custom levels take the place of the schedule', () => {
    const plan = createSampler('flow-euler', { shift: 1 }).plan({ sigmas: [1, 0.75, 0.5, 0.25] });
    expect([...(plan.sigmas ?? [])]).toEqual([1, 0.75, 0.5, 0.25, 0]);
    expect([...plan.timesteps]).toEqual([1000, 750, 500, 250]);
  });

  test('custom timesteps reach the model as given, their levels shifted', () => {
    const plan = createSampler('flow-euler', { shift: 3 }).plan({ timesteps: [800, 400] });
    expect([...plan.timesteps]).toEqual([800, 400]);
    expect(plan.sigmas![0]).toBeCloseTo((3 * 0.8) / (1 + 2 * 0.8), 6);
    expect(() => createSampler('flow-euler', {}).plan({ timesteps: [800, 400], sigmas: [1] })).toThrow(
      'match',
    );
  });

  test('stochastic sampling draws at every step', () => {
    const plan = createSampler('flow-euler', { stochastic_sampling: true }).plan({ numInferenceSteps: 3 });
    expect(plan.noiseDraws).toBe(3);
    expect(plan.steps[2]!.sample[columns.noise]).toBe(0);
  });
});

describe('packing', () => {
  test('lays rows out one after the other', () => {
    const plan = createSampler('dpm++-2m', stable).plan({ numInferenceSteps: 3 });
    const { data, stride, rows, columns: width } = packPlan(plan);
    expect({ stride, rows, width, floats: data.length }).toEqual({
      stride: 20,
      rows: 2,
      width: 5,
      floats: 60,
    });
    const at = stride + packedHeader.rows;
    expect([...data.subarray(at, at + width)]).toEqual([...plan.steps[1]!.sample].map(Math.fround));
    expect(data[stride + packedHeader.timestep]).toBe(plan.timesteps[1]);
  });
});

describe('errors name the field and the remedy', () => {
  const cases: [string, SchedulerConfig, SamplerOptions, string, RegExp][] = [
    ['nope', {}, {}, 'sampler', /Use one of .*ddim/],
    ['ddim', { thresholding: true }, {}, 'thresholding', /set it to false/],
    ['ddim', { beta_schedule: 'laplace' }, {}, 'beta_schedule', /use one of linear/],
    ['ddim', { beta_start: 'x' }, {}, 'beta_start', /expected a number/],
    ['ddim', { prediction_type: 'flow_prediction' }, {}, 'prediction_type', /use 'flow-euler'/],
    ['ddim', {}, { numInferenceSteps: 2000 }, 'numInferenceSteps', /from 1 to 1000/],
    ['ddim', {}, { numInferenceSteps: 0 }, 'numInferenceSteps', /at least 1/],
    ['ddim', {}, {}, 'numInferenceSteps', /missing/],
    ['ddim', {}, { timesteps: [1] }, 'timesteps', /give numInferenceSteps/],
    ['ddim', {}, { numInferenceSteps: 4, strength: 0.1 }, 'strength', /at least 0.25/],
    ['ddim', {}, { numInferenceSteps: 4, startStep: 4 }, 'startStep', /0 to 3/],
    [
      'ddim',
      { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' },
      { numInferenceSteps: 4 },
      'step 0',
      /v_prediction/,
    ],
    ['euler-ancestral', { prediction_type: 'sample' }, {}, 'prediction_type', /use 'ddim'/],
    [
      'euler',
      { use_karras_sigmas: true, use_beta_sigmas: true },
      { numInferenceSteps: 4 },
      'use_beta_sigmas',
      /false/,
    ],
    ['euler', { use_karras_sigmas: true }, { timesteps: [900, 1] }, 'timesteps', /karras/],
    ['euler', {}, { timesteps: [1, 900] }, 'timesteps', /falling/],
    ['pndm', { prediction_type: 'sample' }, {}, 'prediction_type', /use/],
    ['pndm', {}, { numInferenceSteps: 3 }, 'numInferenceSteps', /skip_prk_steps/],
    ['lcm', { original_inference_steps: 4 }, { numInferenceSteps: 8 }, 'numInferenceSteps', /at most 4/],
    [
      'lcm',
      { original_inference_steps: 4000 },
      { numInferenceSteps: 4 },
      'original_inference_steps',
      /1 to 1000/,
    ],
    ['tcd', {}, { numInferenceSteps: 4, eta: 2 }, 'eta', /0 to 1/],
    ['ddpm', { variance_type: 'learned_range' }, {}, 'variance_type', /fixed_small/],
    ['dpm++-2m', { algorithm_type: 'dpmsolver' }, {}, 'final_sigmas_type', /sigma_min/],
    ['dpm++-2m', { prediction_type: 'flow_prediction' }, {}, 'use_flow_sigmas', /must be true/],
    ['dpm++-2m', { use_flow_sigmas: true, use_karras_sigmas: true }, {}, 'use_karras_sigmas', /false/],
    ['dpm++-2m', { variance_type: 'learned_range' }, {}, 'variance_type', /leave it out/],
    ['dpm-sde', { noise_sampler_seed: 3 }, {}, 'noise_sampler_seed', /request's seed/],
    ['unipc', { solver_p: {} }, {}, 'solver_p', /cannot be plugged in/],
    ['flow-euler', { use_dynamic_shifting: true }, { numInferenceSteps: 4 }, 'mu', /imageSeqLen/],
  ];

  test.each(cases)('%s %j %j', (name, config, options, field, message) => {
    const run = (): unknown => createSampler(name, config).plan(options);
    expect(run).toThrow(SamplerError);
    expect(run).toThrow(message);
    expect(run).toThrow(expect.objectContaining({ field }));
  });
});

test('fields that no sampler knows are named, those of another class are not', () => {
  const config = {
    _class_name: 'EulerDiscreteScheduler',
    skip_prk_steps: true,
    predict_epsilon: false,
    solver_p: null,
    sigma_data: 0.5,
  };
  expect(unknownFields(config)).toEqual(['predict_epsilon', 'sigma_data']);
});

test('names of samplers for a model leave out those of the other kind', () => {
  const noise = samplerNamesFor({ _class_name: 'EulerDiscreteScheduler', beta_schedule: 'scaled_linear' });
  expect(noise).toEqual(expect.arrayContaining(['ddim', 'euler', 'dpm++-2m-karras']));
  expect(noise).not.toContain('flow-euler');
  const flow = samplerNamesFor({ _class_name: 'FlowMatchEulerDiscreteScheduler' });
  expect(flow).toContain('flow-euler');
  expect(flow).not.toContain('ddim');
});
