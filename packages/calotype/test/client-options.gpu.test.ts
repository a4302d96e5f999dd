import { Engine } from '@calotype/core';
import { afterEach, expect, test, vi } from 'vitest';
import {
  DiffusionEngine,
  planPipeline,
  TextToImageClient,
  type ClientOptions,
  type FetchProgress,
  type GenerateResult,
  type ModelSpec,
} from '../src/index.ts';
import type { HoldEvent } from '../src/worker/messages.ts';

const source = '/fixtures/micro-sd/';
const size = { width: 64, height: 64 };
const request = { prompt: 'a cat', seed: 7, numInferenceSteps: 1, output: 'imageData', ...size } as const;

const disposables: Disposable[] = [];

afterEach(() => {
  for (const disposable of disposables.splice(0)) disposable[Symbol.dispose]();
  vi.restoreAllMocks();
});

async function load(options: ClientOptions): Promise<TextToImageClient> {
  const client = await TextToImageClient.fromPretrained(source, {
    precision: 'f32',
    sharing: 'none',
    warmUp: false,
    ...options,
  });
  disposables.push(client);
  return client;
}

test('in a budget stages take turns and the picture is the same; what does not fit alone is refused by name', async () => {
  using engine = await Engine.create({ precision: 'f32' });
  const { peakBytes, swappedPeakBytes } = await planPipeline(source, { engine, ...size });
  const picture = (client: TextToImageClient): Promise<GenerateResult<'imageData'>> =>
    client.generate(request);
  // On one device, so that the second compiles nothing again; of their budgets the least counts.
  const free = await load({ sharing: 'tabs' });
  const expected = await picture(free);
  const memoryBudget = Math.round((peakBytes + swappedPeakBytes) / 2);
  expect((await free.stats()).gpuBytes).toBeGreaterThan(memoryBudget);
  const swapping = await load({ sharing: 'tabs', memoryBudget });
  expect((await picture(swapping)).images[0]!.data).toEqual(expected.images[0]!.data);
  expect((await swapping.stats()).gpuBytes).toBeLessThanOrEqual(memoryBudget);
  const tight = load({ memoryBudget: Math.round(swappedPeakBytes / 4), warmUp: size });
  await expect(tight).rejects.toMatchObject({
    name: 'OutOfMemoryError',
    message: expect.stringContaining('quantized weights or a larger budget') as string,
  });
  await expect(load({ memoryBudget: NaN })).rejects.toMatchObject({ option: 'memoryBudget' });
});

test('files are fetched as asked, and clients hear of what comes', async () => {
  const heard: FetchProgress[] = [];
  await load({ fetching: { parallel: 2 }, onFetch: (progress) => heard.push(progress) });
  expect(heard.length).toBeGreaterThan(0);
  expect(heard.at(-1)!.loaded).toBeGreaterThan(0);
  const wrong = load({ fetching: { digests: { 'model_index.json': '0'.repeat(64) } } });
  await expect(wrong).rejects.toMatchObject({ name: 'DigestError', expected: '0'.repeat(64) });
  const withFunction = { fetching: { parallel: 2, fetch: globalThis.fetch } };
  await expect(load(withFunction)).rejects.toMatchObject({ name: 'OptionError', option: 'fetching.fetch' });
});

test('of all who hold models the least budget counts, also on the next device; an engine without a thread hears too', async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  const engines: Engine[] = [];
  const served = new DiffusionEngine({
    cpuLink: () => {
      throw new Error('this test wants none');
    },
    createEngine: async () => {
      const engine = await Engine.create({ precision: 'f32', memoryBudget: 3e9 });
      engines.push(engine);
      return engine;
    },
  });
  disposables.push(served);
  const model: ModelSpec = {
    source: new URL(source, location.href).href,
    precision: 'f32',
    warmUp: false,
    fetching: { parallel: 2, retries: 1 },
  };
  const hold = async (memoryBudget?: number): Promise<{ events: HoldEvent[]; end: () => void }> => {
    const events: HoldEvent[] = [];
    const controller = new AbortController();
    // The same options in another order are the same model.
    const fetching = { retries: 1, parallel: 2 };
    await new Promise<void>((ready, failed) => {
      served.service
        .hold(
          { model: memoryBudget ? { ...model, fetching } : model, memoryBudget },
          {
            signal: controller.signal,
            client: 'page',
            emit: (event) => {
              events.push(event);
              if (event.type === 'ready') ready();
            },
            resume: undefined,
            keep: () => {},
          },
        )
        .catch(failed);
    });
    return { events, end: () => controller.abort() };
  };
  const { events } = await hold();
  expect(events.some((event) => event.type === 'fetch' && event.progress.loaded > 0)).toBe(true);
  expect(engines[0]!.memoryBudget).toBe(3e9);
  const small = await hold(1e9);
  await hold(2e9);
  expect((await served.stats()).models).toBe(1);
  expect(engines[0]!.memoryBudget).toBe(1e9);
  engines[0]!.device.destroy();
  await expect.poll(() => engines[1]?.memoryBudget).toBe(1e9);
  small.end();
  await expect.poll(() => engines[1]!.memoryBudget).toBe(2e9);
});
