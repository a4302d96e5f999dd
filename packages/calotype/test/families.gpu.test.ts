import { type Engine, Tensor } from '@calotype/core';
import { hashedFolder } from '@calotype/dev/hashed-weights';
import type { SafeTensor } from '@calotype/dev/safetensors';
import { beforeAll, expect, test } from 'vitest';
import { pageEngine } from '../../core/test/engine.ts';
import {
  DiffusionModel,
  ImageToImagePipeline,
  InpaintPipeline,
  TextToImagePipeline,
  type GenerateOptions,
  type GenerateResult,
} from '../src/index.ts';
import { floats, recordedRun } from './recorded-run.ts';
import { relativeL2 } from './numbers.ts';

/**
 * Runs of tiny models of every family against loops that share nothing with the library but the graphs
 * (packages/dev/fixtures/families).
 */
const runs = [
  ['tiny-xl', 'stable-diffusion-xl', ['sizes', 'negative']],
  ['tiny-consistency', 'stable-diffusion', ['two-steps']],
  ['tiny-inpaint', 'stable-diffusion', ['nine-channels']],
  ['tiny-control', 'stable-diffusion', ['text', 'inpaint']],
  ['tiny-sd3', 'stable-diffusion-3', ['three-encoders', 'from-a-picture', 'in-a-picture']],
  ['tiny-flux', 'flux', ['true-cfg', 'from-a-picture', 'in-a-picture']],
  ['tiny-flux2', 'flux-2', ['klein']],
] as const;

interface RecordedRun {
  id: string;
  pipeline: 'text-to-image' | 'image-to-image' | 'inpaint';
  options: GenerateOptions<'imageData'> & { strength?: number };
}

let engine: Engine;

beforeAll(async () => void (engine = await pageEngine()));

test.each(runs)('%s: a run gives the latents of an independent loop', async (folder, family, ids) => {
  const live = engine.buffers.liveBuffers;
  const listed = (await (await fetch(`/fixtures/${folder}/reference/runs.json`)).json()) as RecordedRun[];
  const source = await hashedFolder(folder);
  {
    using pipeline = await TextToImagePipeline.fromPretrained(source, { engine, warmUp: false });
    expect(pipeline.model.family.name).toBe(family);
    for (const id of ids) {
      const run = listed.find((candidate) => candidate.id === id)!;
      await compare(pipeline, run, await recordedRun(folder, id));
    }
    const first = listed.find((run) => run.pipeline === 'text-to-image');
    if (first) await compareInCompany(pipeline, first, await recordedRun(folder, first.id));
  }
  expect(engine.buffers.liveBuffers).toBe(live);
});

async function compare(
  pipeline: TextToImagePipeline,
  run: RecordedRun,
  recorded: ReadonlyMap<string, SafeTensor>,
): Promise<void> {
  const picture = (name: string): Tensor<'float32'> =>
    new Tensor('float32', recorded.get(name)!.shape, floats(recorded, name));
  let steps = 0;
  let readBefore = 0;
  let read: number | undefined;
  const { readBack } = engine;
  const options: RecordedRun['options'] = {
    ...run.options,
    seed: 0,
    output: 'imageData',
    ...(recorded.has('latents_in') && { latents: floats(recorded, 'latents_in') }),
    ...(recorded.has('noise.0') && {
      noise: (draw) => floats(recorded, `noise.${draw}`),
    }),
    ...(recorded.has('control_image') && { controlImage: picture('control_image') }),
    onProgress: ({ stage }) => {
      if (stage === 'encode') readBefore = readBack.count;
      if (stage === 'decode') read ??= readBack.count - readBefore;
    },
    onStep: async ({ step, latents }) => {
      const error = relativeL2(await latents.data(), floats(recorded, `latents.${step}`));
      expect(error, `step ${step}`).toBeLessThan(1e-4);
      steps++;
    },
  };
  const { images } = await generate(pipeline, run, options, picture);
  expect(steps).toBe([...recorded.keys()].filter((name) => name.startsWith('latents.')).length);
  // Only this test's own looks at the latents: nothing else comes back between upload and picture.
  expect(read).toBe(steps);
  if (recorded.has('image')) {
    const wanted = floats(recorded, 'image');
    const { data } = images[0]!;
    const worst = wanted.reduce(
      (most, value, i) => Math.max(most, Math.abs(data[Math.floor(i / 3) * 4 + (i % 3)]! - value * 255)),
      0,
    );
    expect(worst).toBeLessThanOrEqual(2);
  }
}

/** The same run beside another request, which goes one step ahead of it. */
async function compareInCompany(
  pipeline: TextToImagePipeline,
  run: RecordedRun,
  recorded: ReadonlyMap<string, SafeTensor>,
): Promise<void> {
  const { denoising } = pipeline.model;
  const control = recorded.has('control_image') && {
    controlImage: new Tensor(
      'float32',
      recorded.get('control_image')!.shape,
      floats(recorded, 'control_image'),
    ),
  };
  const options = { ...run.options, ...control };
  using other = await pipeline.begin({
    ...options,
    prompt: 'a dog',
    seed: 9,
    numInferenceSteps: 3,
    guidanceScale: 1.5,
    controlnetConditioningScale: 0.2,
  });
  await denoising.step([other.job]);
  using generation = await pipeline.begin({
    ...options,
    ...(recorded.has('latents_in') && { latents: floats(recorded, 'latents_in') }),
    ...(recorded.has('noise.0') && { noise: (draw: number) => floats(recorded, `noise.${draw}`) }),
  });
  expect(generation.job.batchKey).toBe(other.job.batchKey);
  while (!generation.job.done) {
    await denoising.step([other.job, generation.job].filter((job) => !job.done));
  }
  const last = floats(recorded, `latents.${generation.job.steps - 1}`);
  expect(relativeL2(await generation.job.latents.data(), last), 'in company').toBeLessThan(1e-4);
}

async function generate(
  pipeline: TextToImagePipeline,
  { pipeline: kind }: RecordedRun,
  options: RecordedRun['options'],
  picture: (name: string) => Tensor<'float32'>,
): Promise<GenerateResult<'imageData'>> {
  if (kind === 'text-to-image') return pipeline.generate(options);
  if (kind === 'image-to-image') {
    using other = ImageToImagePipeline.from(pipeline);
    return await other.generate({ ...options, image: picture('init_image') });
  }
  using other = InpaintPipeline.from(pipeline);
  return await other.generate({
    ...options,
    image: picture('init_image'),
    maskImage: picture('mask_image'),
  });
}

test('embeddings without their pooled half are refused', async () => {
  const live = engine.buffers.liveBuffers;
  {
    const source = await hashedFolder('tiny-xl');
    using pipeline = await TextToImagePipeline.fromPretrained(source, { engine, warmUp: false });
    const promptEmbeds = new Tensor('float32', [1, 77, 64], new Float32Array(77 * 64));
    const asked = pipeline.begin({ promptEmbeds, width: 64, height: 64 });
    await expect(asked).rejects.toThrow('pooledPromptEmbeds: is missing');
  }
  expect(engine.buffers.liveBuffers).toBe(live);
});

test('a folder of no known family is refused by the inputs of its graph', async () => {
  const source = await hashedFolder('tiny-flux');
  const wrong = {
    ...source,
    open: (path: string) => source.open(path.replace('transformer/', 'text_encoder_2/')),
  };
  await expect(DiffusionModel.load(wrong, { engine })).rejects.toThrow('none of the families');
});
