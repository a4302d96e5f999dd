import type { Engine } from '@calotype/core';
import { readSafetensors } from '@calotype/dev/safetensors';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pageEngine } from '../../core/test/engine.ts';
import { OptionError, TextToImagePipeline } from '../src/index.ts';
import { relativeL2 } from './numbers.ts';

/** One run as `runs.json` records it. */
interface Run {
  id: string;
  prompt: string;
  neg?: string | null;
  steps: number;
  cfg: number;
  batch?: number;
  h?: number;
  w?: number;
  scheduler: Record<string, unknown> | null;
}

let engine: Engine;
let pipeline: TextToImagePipeline;

beforeAll(async () => {
  engine = await pageEngine();
  pipeline = await TextToImagePipeline.fromPretrained('/fixtures/tiny-sd/', { engine });
});

afterAll(() => pipeline?.dispose());

const recorded = (id: string): Promise<ArrayBuffer> =>
  fetch(`/fixtures/tiny-sd/reference/${id}.safetensors`).then((response) => response.arrayBuffer());

const floats = (tensors: ReturnType<typeof readSafetensors>, name: string): Float32Array<ArrayBuffer> => {
  const { data } = tensors.get(name)!;
  return new Float32Array(data.slice().buffer);
};

test.each(['pndm-6', 'ddim-5', 'euler-4', 'euler-a-4', 'no-cfg-3', 'batch2-wide'])(
  'the run %s gives the latents and pixels that diffusers gave',
  async (id) => {
    const runs = (await (await fetch('/fixtures/tiny-sd/reference/runs.json')).json()) as Run[];
    const run = runs.find((candidate) => candidate.id === id)!;
    const tensors = readSafetensors(new Uint8Array(await recorded(id)));
    let last: Float32Array | undefined;
    const { images } = await pipeline.generate({
      prompt: run.prompt,
      negativePrompt: run.neg ?? '',
      numInferenceSteps: run.steps,
      guidanceScale: run.cfg,
      numImages: run.batch ?? 1,
      width: run.w ?? 128,
      height: run.h ?? 128,
      latents: floats(tensors, 'latents_in'),
      noise: (draw) => floats(tensors, `noise.${draw}`),
      ...(run.scheduler && { sampler: run.scheduler }),
      output: 'imageData',
      onStep: async ({ step, latents }) => {
        last = await latents.data();
        expect(relativeL2(last, floats(tensors, `latents.${step}`))).toBeLessThan(1e-3);
      },
    });
    expect(last).toBeDefined();
    const image = floats(tensors, 'image');
    const pixels = image.length / 3 / images.length;
    let worst = 0;
    images.forEach(({ data }, index) => {
      for (let i = 0; i < pixels; i++) {
        for (let c = 0; c < 3; c++) {
          worst = Math.max(worst, Math.abs(data[i * 4 + c]! - image[(index * pixels + i) * 3 + c]! * 255));
        }
      }
    });
    expect(worst).toBeLessThanOrEqual(2);
  },
);

test('nothing is read back between the upload of the prompt and the picture', async () => {
  const { readBack, buffers } = engine;
  const options = { prompt: 'a cat', numInferenceSteps: 3, seed: 7, width: 128, height: 128 };
  const first = await pipeline.generate(options);
  const [reads, created] = [readBack.count, buffers.created];
  let denoised: number | undefined;
  const second = await pipeline.generate({
    ...options,
    onProgress: (progress) => {
      if (progress.stage === 'denoise' && progress.step === 3) denoised = readBack.count;
    },
  });
  expect(denoised).toBe(reads);
  // The picture, with the word that says whether it holds NaN.
  expect(readBack.count - reads).toBe(1);
  expect(buffers.created).toBe(created);
  for (const { images } of [first, second]) images[0]!.close();
});

test('an abort while denoising rejects with the reason and leaves the pipeline usable', async () => {
  const controller = new AbortController();
  const live = engine.buffers.liveBuffers;
  const options = { prompt: 'a cat', width: 128, height: 128, seed: 1 } as const;
  const aborted = pipeline.generate({
    ...options,
    numInferenceSteps: 20,
    signal: controller.signal,
    onStep: ({ step }) => {
      if (step === 1) controller.abort(new DOMException('enough', 'AbortError'));
    },
  });
  await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
  expect(engine.buffers.liveBuffers).toBe(live);
  const { images } = await pipeline.generate({ ...options, numInferenceSteps: 1, output: 'blob' });
  expect(images[0]!.type).toBe('image/png');
});

test('sizes that do not divide name a size that does', async () => {
  await expect(pipeline.generate({ prompt: 'a cat', width: 130 })).rejects.toThrow(OptionError);
  await expect(pipeline.generate({ prompt: 'a cat', width: 130 })).rejects.toThrow('Use 128');
});
