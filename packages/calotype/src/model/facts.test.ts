import type { Session } from '@calotype/core';
import { expect, test } from 'vitest';
import { stableDiffusion } from '../families/stable-diffusion.ts';
import { readFacts, type GenerationDefaults } from './facts.ts';
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
