import { Engine, urlStore } from '@calotype/core';
import type { Checkpoint } from '@calotype/scheduler';
import { hashFill } from '@calotype/dev/hash-fill';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  DiffusionEngine,
  TextToImageClient,
  WorkerCrashedError,
  type ClientGenerateOptions,
  type ClientProgress,
  type GenerateResult,
  type ModelSpec,
} from '../src/index.ts';
import { LatentDecoder } from '../src/stages/decode-latents.ts';
import { relativeL2 } from './numbers.ts';

type Pictures = GenerateResult<'imageData'>;
type Options = ClientGenerateOptions<'imageData'>;

const model = {
  source: new URL('/fixtures/micro-sd/', location.href).href,
  precision: 'f32',
  warmUp: false,
} as const;

const options = { prompt: 'a cat', guidanceScale: 1, width: 64, height: 64, output: 'imageData' } as const;

/** Those on whose devices it ran, one after the other. */
const engines: Engine[] = [];
// One for all that can share it: each new device compiles the kernels again.
let served: DiffusionEngine;
const holds: AbortController[] = [];
let requests = 0;

beforeAll(() => {
  served = newEngine();
});

function newEngine(): DiffusionEngine {
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  return new DiffusionEngine({
    limit: 1000,
    checkpointMs: 10,
    // Files are read in this thread, where a test can take its network away.
    cpuLink: () => {
      throw new Error('this test wants none');
    },
    createEngine: async () => {
      const engine = await Engine.create({ precision: 'f32' });
      engines.push(engine);
      return engine;
    },
  });
}

afterEach(() => {
  for (const held of holds.splice(0)) held.abort();
});

afterAll(() => {
  served.dispose();
  vi.restoreAllMocks();
});

interface Asking {
  signal?: AbortSignal;
  /** Hears of progress while the engine waits for it to return. */
  emit?: (progress: ClientProgress) => void;
  /** Gets checkpoints. */
  keep?: (checkpoint: unknown) => void;
  spec?: ModelSpec;
}

/** Asks the engine as a client does, in this thread. */
function generate(
  wanted: Options,
  { signal = new AbortController().signal, emit = () => {}, keep = () => {}, spec = model }: Asking = {},
): Promise<Pictures> {
  const input = { id: `${requests++}`, model: spec, options: wanted, order: {} };
  const context = { signal, client: `client ${requests % 3}`, emit, resume: undefined, keep };
  return served.service.generate(input, context) as Promise<Pictures>;
}

/** Destroys the device at the first step that is told of. */
function destroyAtFirstStep(): (progress: ClientProgress) => void {
  const { device } = engines.at(-1)!;
  return (progress) => {
    if (progress.stage === 'denoise' && progress.step > 0) device.destroy();
  };
}

/** Keeps the model loaded until the result is called, or the test ends. */
function hold(spec: ModelSpec = model): () => void {
  const controller = new AbortController();
  holds.push(controller);
  const context = {
    signal: controller.signal,
    client: 'holder',
    emit: () => {},
    resume: undefined,
    keep: () => {},
  };
  served.service.hold({ model: spec }, context).catch(() => {});
  return () => controller.abort();
}

function worstDifference(a: Pictures, b: Pictures): number {
  let worst = 0;
  a.images[0]!.data.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - b.images[0]!.data[i]!))));
  return worst;
}

test('latents are the same alone and among seven others', async () => {
  hold();
  const seen: Float32Array[] = [];
  const decode = Reflect.get(LatentDecoder.prototype, 'decode') as (
    this: LatentDecoder,
    ...args: Parameters<LatentDecoder['decode']>
  ) => ReturnType<LatentDecoder['decode']>;
  const spy = vi.spyOn(LatentDecoder.prototype, 'decode').mockImplementation(async function (
    this: LatentDecoder,
    latents,
    ...rest
  ) {
    const [values, pictures] = await Promise.all([latents.data(), decode.call(this, latents, ...rest)]);
    seen.push(values);
    return pictures;
  });
  const wanted: Options[] = [
    'euler-ancestral',
    'dpm++-2m',
    'ddim',
    'euler',
    'heun',
    'lms',
    'unipc',
    'lcm',
  ].map((sampler, i) => ({
    ...options,
    sampler,
    seed: i,
    numInferenceSteps: 3 + (i % 3),
    guidanceScale: i % 3 ? 4 : 1,
  }));
  for (const request of wanted) await generate(request);
  const alone = seen.splice(0);
  await Promise.all(wanted.map((request) => generate(request)));
  expect(seen.length).toBe(8);
  // They finish in another order: each must be found among those that ran alone.
  for (const latents of alone) {
    expect(Math.min(...seen.map((other) => relativeL2(other, latents)))).toBeLessThan(1e-5);
  }
  spy.mockRestore();
});

test('a device destroyed in the middle of a step costs the steps since the last checkpoint, no request', async () => {
  const release = hold();
  const wanted: Options[] = [1, 2].map((seed) => ({ ...options, seed, numInferenceSteps: 100 }));
  const alone = await generate(wanted[0]!);
  const lost = engines.length;
  const { device } = engines.at(-1)!;
  const told: ClientProgress[] = [];
  const checkpoints: number[] = [];
  let reached = 0;
  const first = generate(wanted[0]!, {
    keep: (checkpoint) => {
      if (!told.some(({ stage }) => stage === 'restarted')) checkpoints.push((checkpoint as Checkpoint).step);
    },
    emit: (progress) => {
      told.push(progress);
      const kept = checkpoints.at(-1);
      if (reached || kept === undefined || progress.stage !== 'denoise' || progress.step < kept + 3) return;
      reached = progress.step;
      device.destroy();
    },
  });
  const pictures = await Promise.all([first, generate(wanted[1]!)]);
  expect(worstDifference(pictures[0], alone)).toBeLessThanOrEqual(1);
  expect(engines.length).toBe(lost + 1);
  const restart = told.findIndex(({ stage }) => stage === 'restarted');
  const again = told.slice(restart).find((progress) => progress.stage === 'denoise')!;
  expect(again.step).toBe(checkpoints.at(-1));
  expect(again.step).toBeGreaterThan(0);
  expect(again.step).toBeLessThan(reached);
  release();
  await expect.poll(() => served.stats()).toMatchObject({ requests: 0, active: 0, models: 0, gpuBuffers: 0 });
});

test('a loss while the network is gone is made good from the cache', async () => {
  hold();
  const request = { ...options, numInferenceSteps: 12, seed: 1 };
  await generate(request);
  const offline = vi.spyOn(globalThis, 'fetch').mockRejectedValue(new TypeError('Failed to fetch'));
  const lost = engines.length;
  try {
    const going = await generate(request, { emit: destroyAtFirstStep() });
    expect(going.images.length).toBe(1);
    expect(engines.length).toBe(lost + 1);
  } finally {
    offline.mockRestore();
  }
});

test('without a cache it fails the requests with what reading said; later ones work', async () => {
  const spec = { ...model, source: urlStore(model.source, { retries: 0 }) };
  hold(spec);
  const request = { ...options, numInferenceSteps: 12, seed: 1 };
  await generate(request, { spec });
  const offline = vi.spyOn(globalThis, 'fetch').mockRejectedValue(new TypeError('Failed to fetch'));
  try {
    const failing = generate(request, { spec, emit: destroyAtFirstStep() });
    await expect(failing).rejects.toMatchObject({ name: 'SourceError' });
  } finally {
    offline.mockRestore();
  }
  expect((await generate(request, { spec })).images.length).toBe(1);
});

test('a thousand requests cancelled at random all settle, and memory returns to its start', async () => {
  const release = hold();
  // From 0 to 1: hash fills have a standard deviation of 1.
  const random = hashFill('cancelled', 2000).map((value) => value / Math.sqrt(12) + 0.5);
  const alone = await generate({ ...options, numInferenceSteps: 2, seed: 1 });
  const outcomes = Array.from({ length: 1000 }, async (_, i) => {
    const controller = new AbortController();
    if (random[2 * i]! < 0.98) {
      const cancel = (): void => controller.abort(new DOMException('enough', 'AbortError'));
      setTimeout(cancel, random[2 * i + 1]! * 1000);
    }
    const request = { ...options, numInferenceSteps: 2, seed: i % 2 };
    try {
      const picture = await generate(request, { signal: controller.signal });
      return i % 2 === 0 || worstDifference(picture, alone) <= 1 ? 'right' : 'wrong';
    } catch (error) {
      return (error as Error).name;
    }
  });
  const settled = await Promise.all(outcomes);
  expect(new Set(settled)).toEqual(new Set(['right', 'AbortError']));
  // Jobs under way when their request was cancelled end with their step.
  const idle = { requests: 0, active: 0, heldBytes: 0, inFlight: 0, clients: 0 };
  await expect.poll(() => served.scheduler.stats).toEqual(idle);
  // With the model goes all that is left, down to the last buffer.
  release();
  await expect.poll(() => served.stats()).toMatchObject({ models: 0, gpuBuffers: 0, gpuBytes: 0 });
});

describe('in a worker of its own', () => {
  const workers: Worker[] = [];
  let client: TextToImageClient;

  beforeAll(async () => {
    client = await TextToImageClient.fromPretrained('/fixtures/micro-sd/', {
      precision: 'f32',
      sharing: 'none',
      warmUp: false,
      worker: () => {
        const worker = new Worker(new URL('../src/worker/gpu-worker.ts', import.meta.url), {
          type: 'module',
        });
        workers.push(worker);
        return worker;
      },
    });
  });

  afterAll(() => client?.dispose());

  test('the main thread is never blocked for long by a generation', async () => {
    const blocked: number[] = [];
    const observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) blocked.push(duration);
    });
    observer.observe({ type: 'longtask' });
    // That it sees what blocks.
    const until = performance.now() + 80;
    while (performance.now() < until);
    await expect.poll(() => blocked.length).toBe(1);
    await client.generate({ ...options, output: 'blob', seed: 1, numInferenceSteps: 40, previewEvery: 1 });
    // The entries of the last tasks come a little later.
    await new Promise((resolve) => setTimeout(resolve, 200));
    observer.disconnect();
    expect(blocked.slice(1)).toEqual([]);
  });

  test('a worker that is terminated is replaced, and its requests go on', async () => {
    const wanted: Options = { ...options, numInferenceSteps: 100, seed: 4 };
    const alone = await client.generate(wanted);
    const result = client.generate({
      ...wanted,
      onProgress: (progress) => {
        if (progress.stage === 'denoise' && progress.step > 3) workers[0]!.terminate();
      },
    });
    expect(worstDifference(await result, alone)).toBeLessThanOrEqual(1);
    expect(workers.length).toBe(2);
    client.dispose();
    await expect(client.generate(options)).rejects.toBeInstanceOf(WorkerCrashedError);
  });
});
