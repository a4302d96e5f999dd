import { afterEach, expect, test, vi } from 'vitest';
import { WorkerLink } from '@calotype/scheduler';
import { cpuWorker, DiffusionEngine, type GenerateResult, type ModelSpec } from '../src/index.ts';
import type { GenerateInput } from '../src/worker/messages.ts';

const model: ModelSpec = {
  source: new URL('/fixtures/micro-sd/', location.href).href,
  precision: 'f32',
  warmUp: false,
};

const engines: DiffusionEngine[] = [];

afterEach(() => {
  for (const engine of engines.splice(0)) engine.dispose();
});

function newEngine(options: ConstructorParameters<typeof DiffusionEngine>[0] = {}): DiffusionEngine {
  const engine = new DiffusionEngine(options);
  engines.push(engine);
  return engine;
}

async function generate(
  engine: DiffusionEngine,
  options: Partial<GenerateInput['options']>,
  spec: ModelSpec = model,
): Promise<GenerateResult<'imageData'>> {
  const context = {
    signal: new AbortController().signal,
    client: 'page',
    emit: () => {},
    resume: undefined,
    keep: () => {},
  };
  const all = {
    prompt: 'a (red:1.3) cat',
    seed: 1,
    ...(options.image === undefined && { width: 64, height: 64 }),
    numInferenceSteps: 2,
    output: 'imageData',
    ...options,
  } as GenerateInput['options'];
  const input = { id: crypto.randomUUID(), model: spec, options: all, order: {} };
  return engine.service.generate(input, context) as unknown as Promise<GenerateResult<'imageData'>>;
}

function stripes(): ImageData {
  const image = new ImageData(68, 84);
  image.data.forEach((_, i) => (image.data[i] = i % 4 === 3 ? 255 : (i * 7) % 256));
  return image;
}

test('prompts, pictures and files are the work of another thread; without one it is done here, and said', async () => {
  const elsewhere = newEngine({ cpuLink: cpuWorker });
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const here = newEngine({
    cpuLink: () => {
      throw new Error('worker-src forbids it');
    },
  });
  const wanted = { image: stripes(), strength: 0.9 };
  const done = {
    signal: new AbortController().signal,
    client: '',
    emit: () => {},
    resume: undefined,
    keep: () => {},
  };
  await elsewhere.service.record({ on: true }, done);
  const made = await generate(elsewhere, wanted);
  const { spans } = (await elsewhere.service.record({ on: false }, done))!;
  const calls = new Set(spans.flatMap(({ track, name }) => (track === 'cpu worker' ? [name] : [])));
  for (const call of ['parse', 'read', 'tokenize', 'picture']) {
    expect(calls).toContain(call);
  }
  expect((await elsewhere.stats()).cpu).toEqual({ place: 'worker' });
  expect(warned).not.toHaveBeenCalled();

  const same = await generate(here, wanted);
  expect((await here.stats()).cpu).toEqual({ place: 'engine', reason: 'worker-src forbids it' });
  expect(warned).toHaveBeenCalledTimes(1);
  expect(warned.mock.calls[0]![0]).toContain('worker-src forbids it');
  warned.mockRestore();
  expect([made.images[0]!.width, made.images[0]!.height]).toEqual([64, 80]);
  expect(made.images[0]!.data).toEqual(same.images[0]!.data);
});

test('what a thread throws arrives as its own class, and a thread that ends is replaced', async () => {
  const workers: Worker[] = [];
  const engine = newEngine({
    cpuLink: () =>
      new WorkerLink(() => {
        const worker = new Worker(new URL('../src/worker/gpu-worker.ts', import.meta.url), {
          type: 'module',
          name: 'calotype-cpu',
        });
        workers.push(worker);
        return worker;
      }),
  });
  const noPicture = generate(engine, { image: new Blob(['no picture'], { type: 'image/png' }) });
  await expect(noPicture).rejects.toMatchObject({ name: 'OptionError', option: 'image' });
  const noModel = generate(
    engine,
    {},
    { ...model, source: new URL('/fixtures/nothing/', location.href).href },
  );
  await expect(noModel).rejects.toMatchObject({ name: 'ModelFolderError' });

  const before = await generate(engine, {});
  expect(workers.length).toBe(1);
  workers[0]!.terminate();
  const after = await generate(engine, { output: 'blob' } as never);
  expect((after.images[0] as unknown as Blob).type).toBe('image/png');
  expect((await generate(engine, {})).images[0]!.data).toEqual(before.images[0]!.data);
  expect(workers.length).toBe(2);
});
