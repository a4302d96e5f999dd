import { Engine, ModelCache } from '@calotype/core';
import { afterAll, expect, test } from 'vitest';
import { engineBeside } from '../../core/test/engine.ts';
import { planPipeline, TextToImagePipeline, type GenerateOptions } from '../src/index.ts';

const source = '/fixtures/tiny-sd/';
const cacheName = `test-${crypto.randomUUID()}`;
const request: GenerateOptions<'imageData'> = {
  prompt: 'a lighthouse at night',
  numInferenceSteps: 2,
  seed: 7,
  // The second is decoded while the first is read back.
  numImages: 2,
  output: 'imageData',
};

afterAll(async () => {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry(cacheName, { recursive: true });
});

async function picture(pipeline: TextToImagePipeline): Promise<Uint8ClampedArray> {
  const { images } = await pipeline.generate(request);
  return images[0]!.data;
}

/** Counts the bytes of all buffers that are made on a device from now on, whatever they are for, and not destroyed. */
function countBytes(device: GPUDevice): { peak: number } & Disposable {
  const create = device.createBuffer.bind(device);
  const count = { now: 0, peak: 0, [Symbol.dispose]: () => void (device.createBuffer = create) };
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    let bytes = descriptor.size;
    count.now += bytes;
    count.peak = Math.max(count.peak, count.now);
    buffer.destroy = () => {
      count.now -= bytes;
      bytes = 0;
      destroy();
    };
    return buffer;
  };
  return count;
}

test('stages take turns in a budget, and the picture is the same; memory is as planned', async () => {
  const cache = await ModelCache.open({ name: cacheName });
  using engine = await engineBeside();
  using bytes = countBytes(engine.device);
  const plan = await planPipeline(source, { engine, cache, batch: 2 });
  expect(plan.fetchBytes).toBeGreaterThan(0);
  using pipeline = await TextToImagePipeline.fromPretrained(source, { engine, cache, warmUp: false });
  const expected = await picture(pipeline);
  expect(bytes.peak / plan.peakBytes).toBeGreaterThan(0.98);
  expect(bytes.peak / plan.peakBytes).toBeLessThan(1.02);
  await pipeline.model.finishFetching();
  expect((await pipeline.plan({ batch: 2 })).fetchBytes).toBe(0);

  const memoryBudget = Math.round((plan.swappedPeakBytes + plan.peakBytes) / 2);
  expect((await pipeline.plan({ batch: 2, memoryBudget })).fit).toBe('swapped');
  using small = await Engine.create({ device: engine.device, precision: 'f32', memoryBudget });
  using swapping = await TextToImagePipeline.fromPretrained(source, { engine: small, cache });
  expect(await picture(swapping)).toEqual(expected);
  expect(small.buffers.peakBytes).toBeLessThanOrEqual(memoryBudget);
  const { encoders, denoiser } = swapping.model;
  const evictions = [...encoders.values()].map(({ session }) => session.report().evictions);
  expect(evictions[0]! + denoiser.report().evictions).toBeGreaterThan(0);
});

test('a model that was loaded once needs no network', async () => {
  const cache = await ModelCache.open({ name: cacheName });
  using engine = await engineBeside();
  const options = { engine, cache, warmUp: false } as const;
  const small = '/fixtures/micro-sd/';
  using before = await TextToImagePipeline.fromPretrained(small, options);
  await before.model.finishFetching();
  const down = (): Promise<Response> => Promise.reject(new TypeError('Failed to fetch'));
  using pipeline = await TextToImagePipeline.fromPretrained(small, { ...options, fetching: { fetch: down } });
  expect(await picture(pipeline)).toHaveLength(pipeline.defaultSize ** 2 * 4);
  const [report] = pipeline.model.storeReports();
  expect(report).toMatchObject({ cache: 'opfs' });
  expect(report!.files[0]!.notes[0]).toContain('cannot be reached');
});
