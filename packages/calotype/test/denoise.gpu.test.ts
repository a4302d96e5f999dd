import type { Engine } from '@calotype/core';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { pageEngine } from '../../core/test/engine.ts';
import { TextToImagePipeline, type Generation, type TextToImageOptions } from '../src/index.ts';
import { relativeL2 } from './numbers.ts';

let engine: Engine;
let pipeline: TextToImagePipeline;

beforeAll(async () => {
  engine = await pageEngine();
  pipeline = await TextToImagePipeline.fromPretrained('/fixtures/tiny-sd/', { engine, warmUp: false });
});

afterAll(() => pipeline?.dispose());

const small = { width: 64, height: 64 } as const;

/** Requests that share a batch, although they differ in all that a batch may. */
const requests: TextToImageOptions[] = [
  { ...small, prompt: 'a cat', seed: 1, numInferenceSteps: 4, sampler: 'euler-ancestral' },
  { ...small, prompt: 'a dog', seed: 2, numInferenceSteps: 3, guidanceScale: 1, sampler: 'dpm++-2m' },
  {
    ...small, prompt: 'a red apple', seed: [3, 4], numInferenceSteps: 3, sampler: 'ddim', guidanceScale: 3,
    guidanceRescale: 0.7, guidanceInterval: [0.3, 1],
  },
]; // prettier-ignore

async function latentsAlone(options: TextToImageOptions): Promise<Float32Array> {
  using generation = await pipeline.begin(options);
  while (!generation.job.done) await pipeline.model.denoising.step([generation.job]);
  return generation.job.latents.data();
}

test('latents do not depend on what a job is batched with, nor on when it joins', async () => {
  const alone: Float32Array[] = [];
  for (const options of requests) alone.push(await latentsAlone(options));

  const { denoising } = pipeline.model;
  const running: Generation[] = [];
  for (const options of requests) running.push(await pipeline.begin(options));
  const jobs = running.map(({ job }) => job);
  expect(new Set(jobs.map((job) => job.batchKey)).size).toBe(1);
  // The first goes one step ahead: from then on each is at another noise level than its neighbours.
  await denoising.step([jobs[0]!]);
  for (;;) {
    const waiting = jobs.filter((job) => !job.done);
    if (waiting.length === 0) break;
    await denoising.step(waiting);
  }
  for (const [i, job] of jobs.entries()) {
    expect(relativeL2(await job.latents.data(), alone[i]!)).toBeLessThan(1e-5);
  }
  for (const generation of running) generation.dispose();
});

test('a request begins with the command buffers of its text encoder, and no other', async () => {
  // Uploads and compiles.
  (await pipeline.begin(requests[0]!)).dispose();
  const encoders = vi.spyOn(engine.device, 'createCommandEncoder');
  (await pipeline.begin({ ...requests[0]!, prompt: 'a dog' })).dispose();
  const labels = encoders.mock.calls.map(([descriptor]) => descriptor?.label);
  encoders.mockRestore();
  expect(labels.length).toBeGreaterThan(0);
  expect(new Set(labels)).toEqual(new Set(['run']));
});

test('a preview goes with a step, in its command buffer, and is of what the step leaves', async () => {
  const { denoising } = pipeline.model;
  using generation = await pipeline.begin(requests[0]!);
  await generation.preparePreview();
  expect(generation.previewsAtOnce()).toBe(true);
  // Compiles what a step and a preview need.
  await denoising.step([generation.job]);
  (await generation.preview())[0]!.close();
  const submit = vi.spyOn(engine.device.queue, 'submit');
  await denoising.step([generation.job]);
  const alone = submit.mock.calls.length;
  let shown: Promise<ImageBitmap[]> | undefined;
  await denoising.step([generation.job], { after: () => (shown = generation.preview()) });
  expect(submit.mock.calls.length).toBe(2 * alone);
  submit.mockRestore();
  const [during] = (await shown)!;
  const [afterwards] = await generation.preview();
  expect(pixelsOf(during!)).toEqual(pixelsOf(afterwards!));
});

test('a second step of the same jobs creates no buffer', async () => {
  const { denoising } = pipeline.model;
  const options = { ...small, prompt: 'a cat', numInferenceSteps: 6 };
  using first = await pipeline.begin({ ...options, seed: 1 });
  using second = await pipeline.begin({ ...options, seed: 2, sampler: 'euler-ancestral' });
  const jobs = [first.job, second.job];
  await denoising.step(jobs);
  await denoising.step(jobs);
  const { created } = engine.buffers;
  await denoising.step(jobs);
  expect(engine.buffers.created).toBe(created);
});

test('what a step does beside the model goes in command buffers of the model', async () => {
  const { denoising } = pipeline.model;
  const options = { ...small, prompt: 'a cat', numInferenceSteps: 6 };
  using first = await pipeline.begin({ ...options, seed: 1 });
  using second = await pipeline.begin({ ...options, seed: 2, sampler: 'euler-ancestral' });
  using third = await pipeline.begin({ ...requests[2]!, numInferenceSteps: 6 });
  const submit = vi.spyOn(engine.device.queue, 'submit');
  const encoder = vi.spyOn(engine.device, 'createCommandEncoder');
  const together = [first.job, second.job, third.job];
  for (const { planned, jobs } of [
    { planned: [first.job], jobs: [first.job] },
    { planned: together, jobs: together },
    // A batch whose rows are not laid out yet, nor its prompts' keys and values computed.
    { planned: together, jobs: together.toReversed() },
  ]) {
    await denoising.step(planned);
    submit.mockClear();
    encoder.mockClear();
    await denoising.step(jobs);
    expect(submit).toHaveBeenCalled();
    expect(encoder).toHaveBeenCalledTimes(submit.mock.calls.length);
    expect(new Set(encoder.mock.calls.map(([descriptor]) => descriptor?.label))).toEqual(new Set(['run']));
  }
  submit.mockRestore();
  encoder.mockRestore();
});

test('an abort that comes when a step is submitted leaves it done', async () => {
  const { denoising } = pipeline.model;
  using generation = await pipeline.begin(requests[0]!);
  const { job } = generation;
  await denoising.step([job]);
  const stop = new AbortController();
  const advance = vi.spyOn(job, 'advance').mockImplementationOnce(() => {
    advance.mockRestore();
    job.advance();
    stop.abort();
  });
  await denoising.step([job], { signal: stop.signal });
  expect(job.stepIndex).toBe(2);
  await expect(denoising.step([job], { signal: stop.signal })).rejects.toMatchObject({ name: 'AbortError' });
  while (!job.done) await denoising.step([job]);
  expect(relativeL2(await job.latents.data(), await latentsAlone(requests[0]!))).toBeLessThan(1e-6);
});

test('a run goes on from its checkpoint', async () => {
  const options = requests[0]!;
  const { denoising } = pipeline.model;
  using interrupted = await pipeline.begin({ ...options, sampler: 'dpm++-2m-sde' });
  await denoising.step([interrupted.job]);
  await denoising.step([interrupted.job]);
  const checkpoint = structuredClone(await interrupted.checkpoint());
  while (!interrupted.job.done) await denoising.step([interrupted.job]);

  using resumed = await pipeline.begin({ ...options, sampler: 'dpm++-2m-sde' }, checkpoint);
  expect(resumed.job.stepIndex).toBe(2);
  while (!resumed.job.done) await denoising.step([resumed.job]);
  expect(relativeL2(await resumed.job.latents.data(), await interrupted.job.latents.data())).toBeLessThan(
    1e-6,
  );
});

test('an aborted step moves no job on, and it can be taken again', async () => {
  const { denoising } = pipeline.model;
  using generation = await pipeline.begin(requests[0]!);
  const { job } = generation;
  await denoising.step([job]);
  const aborted = denoising.step([job], {
    signal: AbortSignal.abort(new DOMException('stop', 'AbortError')),
  });
  await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
  expect(job.stepIndex).toBe(1);
  while (!job.done) await denoising.step([job]);
  expect(relativeL2(await job.latents.data(), await latentsAlone(requests[0]!))).toBeLessThan(1e-6);
});

test('a job that is disposed of gives back all it took', async () => {
  const live = engine.buffers.liveBuffers;
  const generation = await pipeline.begin(requests[2]!);
  await pipeline.model.denoising.step([generation.job]);
  generation.dispose();
  expect(engine.buffers.liveBuffers).toBe(live);
  expect(() => generation.job.latents).toThrow('dispose');
});

test('jobs of different shapes are refused in one step', async () => {
  using wide = await pipeline.begin({ ...small, width: 128, prompt: 'a cat', seed: 1 });
  using square = await pipeline.begin({ ...small, prompt: 'a cat', seed: 1 });
  expect(wide.job.batchKey).not.toBe(square.job.batchKey);
  await expect(pipeline.model.denoising.step([wide.job, square.job])).rejects.toThrow('batchKeys');
  expect(square.job.stepIndex).toBe(0);
});

function pixelsOf(bitmap: ImageBitmap): Uint8ClampedArray {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d')!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height).data;
}
