import { type Engine, Tensor } from '@calotype/core';
import { readSafetensors } from '@calotype/dev/safetensors';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../../core/test/engine.ts';
import {
  ImageToImagePipeline,
  InpaintPipeline,
  ModelFolderError,
  OptionError,
  SamplerError,
  TextToImagePipeline,
  type ImageToImageOptions,
} from '../src/index.ts';
import { floats } from './recorded-run.ts';
import { relativeL2 } from './numbers.ts';

let engine: Engine;
let pipeline: TextToImagePipeline;

beforeAll(async () => {
  engine = await pageEngine();
  pipeline = await TextToImagePipeline.fromPretrained('/fixtures/tiny-sd/', { engine, warmUp: false });
});

afterAll(() => pipeline?.dispose());

const small = { width: 64, height: 64 } as const;

/** A grey picture of this size, or with `value` a plane of it. */
function grey(width: number, height: number, value = 128): ImageData {
  const image = new ImageData(width, height);
  for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 === 3 ? 255 : value;
  return image;
}

test('image-to-image gives the latents and pixels that diffusers gave', async () => {
  const response = await fetch('/fixtures/tiny-sd/reference/img2img-ddim-8-strength-0.6.safetensors');
  const recorded = readSafetensors(new Uint8Array(await response.arrayBuffer()));
  using other = ImageToImagePipeline.from(pipeline);
  let worst = 0;
  const { images } = await other.generate({
    prompt: 'a photo of a cat',
    negativePrompt: 'blurry',
    image: new Tensor('float32', [1, 3, 128, 128], floats(recorded, 'init_image')),
    strength: 0.6,
    numInferenceSteps: 8,
    guidanceScale: 6,
    sampler: { _class_name: 'DDIMScheduler', clip_sample: false },
    noise: (draw) => floats(recorded, `noise.${draw}`),
    output: 'imageData',
    onStep: async ({ step, latents }) => {
      worst = Math.max(worst, relativeL2(await latents.data(), floats(recorded, `latents.${step}`)));
    },
  });
  expect(worst).toBeLessThan(1e-4);
  const wanted = floats(recorded, 'image');
  const { data } = images[0]!;
  const off = wanted.map((value, i) => Math.abs(data[Math.floor(i / 3) * 4 + (i % 3)]! - value * 255));
  expect(off.reduce((most, value) => Math.max(most, value), 0)).toBeLessThanOrEqual(2);
});

test('a model goes with the last pipeline that shares it', async () => {
  const first = await TextToImagePipeline.fromPretrained('/fixtures/tiny-sd/', { engine, warmUp: false });
  const second = InpaintPipeline.from(first);
  first.dispose();
  first.dispose();
  const image = grey(64, 64);
  const options = { prompt: 'a cat', image, maskImage: grey(64, 64, 255), numInferenceSteps: 1, seed: 1 };
  const { images } = await second.generate({ ...options, output: 'imageData' });
  expect(images[0]!.width).toBe(64);
  second.dispose();
  expect(() => ImageToImagePipeline.from(second)).toThrow('dispose');
});

test('every image has the latents that its seed alone gives', async () => {
  const options = { ...small, prompt: 'a cat', numInferenceSteps: 2, sampler: 'euler-ancestral' };
  const latentsOf = async (seed: number | number[]): Promise<Float32Array> => {
    using generation = await pipeline.begin({ ...options, seed });
    while (!generation.job.done) await pipeline.model.denoising.step([generation.job]);
    return generation.job.latents.data();
  };
  const both = await latentsOf([11, 12]);
  const half = both.length / 2;
  expect(relativeL2(both.subarray(0, half), await latentsOf(11))).toBeLessThan(1e-5);
  expect(relativeL2(both.subarray(half), await latentsOf(12))).toBeLessThan(1e-5);
});

test('embeddings take the place of prompts', async () => {
  const options = { ...small, numInferenceSteps: 1, seed: 5 };
  using spoken = await pipeline.begin({ ...options, prompt: 'a cat', negativePrompt: 'blurry' });
  const rows = spoken.job.conditioning.rows['encoder_hidden_states']!;
  const [, tokens, channels] = rows.shape as [number, number, number];
  const values = (await rows.data()) as Float32Array<ArrayBuffer>;
  const shape = [1, tokens, channels];
  const row = (i: number): Tensor<'float32'> =>
    new Tensor('float32', shape, values.slice(i * tokens * channels, (i + 1) * tokens * channels));
  using given = await pipeline.begin({ ...options, promptEmbeds: row(1), negativePromptEmbeds: row(0) });
  for (const { job } of [spoken, given]) await pipeline.model.denoising.step([job]);
  expect(await given.job.latents.data()).toEqual(await spoken.job.latents.data());
});

describe('wrong combinations name the remedy', () => {
  const valid: ImageToImageOptions = { prompt: 'a cat', image: grey(64, 64), numInferenceSteps: 2 };

  test('a mask of another size', async () => {
    using inpaint = InpaintPipeline.from(pipeline);
    const asked = inpaint.generate({ ...valid, maskImage: grey(32, 64) });
    await expect(asked).rejects.toThrow(OptionError);
    await expect(asked).rejects.toThrow("mask of the picture's size");
  });

  beforeAll(async () => {
    // What programs for this size keep is there before anything is counted.
    using other = ImageToImagePipeline.from(pipeline);
    (await other.begin({ ...valid, numImages: 3 })).dispose();
  });

  test.each([
    [{ strength: 1.2 }, 'strength: expected a number from 0 to 1'],
    [{ strength: 0.1 }, 'use a strength of at least'],
    [{ width: 65 }, 'Use 64'],
    [{ numImages: 0 }, 'whole number'],
    [{ seed: [1, 2, 3], numImages: 2 }, 'one for each image'],
    [{ guidanceRescale: 2 }, 'guidanceRescale'],
    [{ guidanceInterval: [0.8, 0.2] }, 'guidanceInterval'],
    [{ sampler: 'flow-euler' }, 'another sampler for diffusion models'],
    [{ sampler: { _class_name: 'KDPM2DiscreteScheduler', prediction_type: 'sample' } }, "use 'ddim'"],
    [{ controlImage: grey(64, 64) }, 'option controlnet'],
    [
      { promptEmbeds: new Tensor('float32', [2, 77, 32], new Float32Array(2 * 77 * 32)), numImages: 3 },
      'Give one',
    ],
    [{ promptEmbeds: new Tensor('float32', [1, 5, 32], new Float32Array(160)) }, 'equal shapes'],
  ] as [Partial<ImageToImageOptions>, string][])('%#', async (wrong, message) => {
    using other = ImageToImagePipeline.from(pipeline);
    const live = engine.buffers.liveBuffers;
    await expect(other.generate({ ...valid, ...wrong })).rejects.toThrow(message);
    expect(engine.buffers.liveBuffers).toBe(live);
  });

  test('a folder without vae_encoder, and a prompt that is missing', async () => {
    using turbo = await TextToImagePipeline.fromPretrained('/fixtures/tiny-sd-turbo/', {
      engine,
      warmUp: false,
    });
    expect(() => InpaintPipeline.from(turbo)).toThrow(ModelFolderError);
    expect(() => InpaintPipeline.from(turbo)).toThrow('vae_encoder/model.onnx');
    await expect(turbo.generate({})).rejects.toThrow('promptEmbeds');
    await expect(turbo.generate({ prompt: '', sampler: 'nonsense' })).rejects.toThrow(SamplerError);
  });
});
