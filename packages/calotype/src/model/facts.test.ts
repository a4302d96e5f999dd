import type { Session } from '@calotype/core';
import { expect, test } from 'vitest';
import { stableDiffusion } from '../families/stable-diffusion.ts';
import { latentColoursOf, readFacts, type GenerationDefaults } from './facts.ts';
import { ModelFolder } from './folder.ts';

/** The defaults of a folder whose `model_index.json` has these for its own. */
async function defaultsOf(own: unknown): Promise<GenerationDefaults> {
  const folder = await ModelFolder.open({
    'model_index.json': new Blob([JSON.stringify({ _generation_defaults: own })]),
    'scheduler/scheduler_config.json': new Blob(['{}']),
  });
  const graph = { inputs: [] as unknown } as Session;
  const parts = { denoiser: graph, denoiserComponent: 'unet', decoder: graph };
  return (await readFacts(folder, stableDiffusion, parts, undefined)).defaults;
}

test('a folder says how it wants to be sampled', async () => {
  expect(await defaultsOf({ num_inference_steps: 4, guidance_scale: 1 })).toEqual({
    numInferenceSteps: 4,
    guidanceScale: 1,
  });
});

test('what a folder leaves out is its family’s', async () => {
  expect(await defaultsOf(undefined)).toEqual(stableDiffusion.defaults);
  expect(await defaultsOf({ guidance_scale: 0 })).toEqual({ ...stableDiffusion.defaults, guidanceScale: 0 });
});

test.each([
  [[4], 'expected an object, got [4]'],
  [{ num_inference_steps: '4' }, '.num_inference_steps that cannot be used: expected a whole number'],
  [{ num_inference_steps: 0 }, 'got 0'],
  [{ guidance_scale: null }, '.guidance_scale that cannot be used: expected a number, got null'],
])('refuses %j', async (own, message) => {
  await expect(defaultsOf(own)).rejects.toMatchObject({
    name: 'ModelFolderError',
    file: 'model_index.json',
    message: expect.stringContaining(message) as string,
  });
});

test('a decoder’s config says the colours of its latents', () => {
  const factors = [
    [1, 0, 0.5],
    [0, -1, 0],
  ];
  const bias = [0.1, 0.2, 0.3];
  expect(latentColoursOf({ _latent_rgb_factors: factors, _latent_rgb_factors_bias: bias }, 2)).toEqual({
    factors,
    bias,
  });
  expect(latentColoursOf({ _latent_rgb_factors: factors }, 2)!.bias).toEqual([0, 0, 0]);
  expect(latentColoursOf({}, 2)).toBeUndefined();
});

test.each([
  [[[1, 2]], [0, 0, 0]],
  [[[1, 2, '3']], [0, 0, 0]],
  ['red', [0, 0, 0]],
  [[[1, 2, 3]], [0]],
  [[], [0, 0, 0]],
])('refuses the colours %j with bias %j', (factors, bias) => {
  const config = { _latent_rgb_factors: factors, _latent_rgb_factors_bias: bias };
  expect(() => latentColoursOf(config, 1)).toThrow('expected three numbers for each channel');
});
