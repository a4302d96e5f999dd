import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { fakeEngine, type FakeDevice } from '../test/fake-device.ts';
import { model, type ModelSpec } from '../test/onnx-writer.ts';
import { addAndMultiply, GatedSource, storeOf, twoProducts } from '../test/tiny-models.ts';
import {
  createSession,
  footprintOf,
  DeviceLostError,
  DisposedError,
  InvalidModelError,
  OutOfMemoryError,
  ShaderError,
  ShapeError,
  Tensor,
  type Engine,
  type Session,
} from './index.ts';

const x = (rows: number) => new Tensor('float32', [rows, 3], new Float32Array(rows * 3));
const wide = (rows: number) => new Tensor('float32', [rows, 64], new Float32Array(rows * 64));

/** What is in use of the pool, and what the device holds beside it. */
const usage = (engine: Engine, device: FakeDevice) => ({
  buffers: engine.buffers.liveBuffers,
  bytes: engine.buffers.liveBytes,
  besideBytes: [...device.live].reduce((sum, { size }) => sum + size, 0) - engine.buffers.bytes,
});

async function products(
  engine: Engine,
  weights = new GatedSource('weights.bin', 2 * 64 * 64 * 4),
): Promise<Session> {
  return createSession(
    { store: storeOf(twoProducts, { 'weights.bin': weights }), path: 'model.onnx' },
    { engine },
  );
}

describe('session on a counted device', () => {
  test('a second run of the same shape creates no buffer, bind group or pipeline', async () => {
    const { engine, device } = await fakeEngine();
    using session = await createSession(model(addAndMultiply), { engine });
    const run = async () => {
      for (const tensor of Object.values(await session.run({ x: x(4) }))) tensor.dispose();
    };
    await run();
    const { made } = device;
    const before = { ...made };
    await run();
    expect(made).toEqual({ ...before, submit: before.submit + 1 });
  });

  test('dispose gives everything back', async () => {
    const { engine, device } = await fakeEngine();
    const before = usage(engine, device);
    for (let round = 0; round < 2; round++) {
      const session = await products(engine);
      const { y } = await session.run({ x: wide(2) });
      await session.run({ x: wide(5) }).then((results) => results['y']!.dispose());
      y!.dispose();
      session.dispose();
      session.dispose();
      await expect(session.run({ x: wide(2) })).rejects.toThrow(DisposedError);
      expect(usage(engine, device)).toEqual(before);
    }
  });

  test('the plan tells the bytes that the device holds', async () => {
    const { engine } = await fakeEngine();
    using session = await products(engine);
    await session.prepare({ x: [3, 64] });
    const { weightBytes, intermediateBytes, paramBytes } = footprintOf(await session.plan({ x: [3, 64] }));
    expect(paramBytes).toBeGreaterThan(0);
    expect(engine.buffers.liveBytes).toBe(weightBytes + intermediateBytes + paramBytes);
  });

  test('plans of several shapes share the weights', async () => {
    const { engine } = await fakeEngine();
    const weights = new GatedSource('weights.bin', 2 * 64 * 64 * 4);
    using session = await products(engine, weights);
    await session.prepare({ x: [3, 64] });
    const reads = weights.reads;
    const bytes = engine.buffers.liveBytes;
    await session.prepare({ x: [4, 64] });
    expect(weights.reads).toBe(reads);
    expect(engine.buffers.liveBytes - bytes).toBeLessThan(64 * 64 * 4);
  });

  test('only the most recent programs stay', async () => {
    const { engine } = await fakeEngine();
    using session = await createSession(model(addAndMultiply), { engine, maxPrograms: 2 });
    const live: number[] = [];
    for (const rows of [2, 3, 4, 5]) {
      (await session.run({ x: x(rows) }))['y']!.dispose();
      live.push(engine.buffers.liveBuffers);
    }
    expect(live[2]).toBe(live[1]);
    expect(live[3]).toBe(live[1]);
  });

  test('runs asked for at once follow each other', async () => {
    const { engine } = await fakeEngine();
    using session = await createSession(model(addAndMultiply), { engine });
    const shapes = await Promise.all(
      [3, 1, 2, 3].map(async (rows) => (await session.run({ x: x(rows) }))['y']!.shape),
    );
    expect(shapes).toEqual([
      [3, 3],
      [1, 3],
      [2, 3],
      [3, 3],
    ]);
  });

  test('a gigabyte of weights passes through a bounded stretch of memory', async () => {
    const { engine, device } = await fakeEngine({ keepsContents: false });
    const count = 64;
    const bytes = 2048 * 2048 * 4;
    const names = Array.from({ length: count }, (_, i) => `w${i}`);
    const spec: ModelSpec = {
      inputs: [{ name: 'h0', dtype: 'float32', shape: [1, 2048] }],
      outputs: [{ name: `h${count}`, dtype: 'float32', shape: [1, 2048] }],
      initializers: Object.fromEntries(
        names.map((name, i) => [
          name,
          {
            dtype: 'float32' as const,
            dims: [2048, 2048],
            external: { location: 'weights.bin', offset: String(i * bytes), length: String(bytes) },
          },
        ]),
      ),
      nodes: names.map((name, i) => ({ op: 'MatMul', inputs: [`h${i}`, name], outputs: [`h${i + 1}`] })),
    };
    const weights = new GatedSource('weights.bin', count * bytes);
    const store = storeOf(spec, { 'weights.bin': weights });
    using session = await createSession({ store, path: 'model.onnx' }, { engine });
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    let reports = 0;
    const onProgress = (): void => {
      if (++reports % 8 > 0) return;
      collectGarbage();
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    };
    await session.prepare({ h0: [1, 2048] }, { onProgress });
    expect(engine.buffers.liveBytes).toBeGreaterThanOrEqual(count * bytes);
    expect(device.mostStagedBytes).toBeLessThan(160 * 2 ** 20);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(200 * 2 ** 20);
  });

  test('reports progress in kernels and bytes', async () => {
    const { engine } = await fakeEngine();
    using session = await products(engine);
    const last: Record<string, unknown> = {};
    await session.prepare({ x: [3, 64] }, { onProgress: (progress) => (last[progress.stage] = progress) });
    expect(last['weights']).toEqual({ stage: 'weights', done: 32768, total: 32768 });
    expect(last['compile']).toMatchObject({ stage: 'compile' });
  });
});

describe('wrong inputs', () => {
  test.each([
    { name: 'name', inputs: { z: x(1) }, says: /input 'z'.*'x'/ },
    { name: 'missing', inputs: {}, says: /input 'x'.*float32\[n, 3\]/ },
    {
      name: 'dtype',
      inputs: { x: new Tensor('int32', [1, 3], new Int32Array(3)) },
      says: /float32\[n, 3\], got int32\[1, 3\]/,
    },
    {
      name: 'shape',
      inputs: { x: new Tensor('float32', [1, 4], new Float32Array(4)) },
      says: /float32\[n, 3\], got float32\[1, 4\]/,
    },
    { name: 'rank', inputs: { x: new Tensor('float32', [3], new Float32Array(3)) }, says: /rank 2/ },
  ])('$name', async ({ inputs, says }) => {
    const { engine } = await fakeEngine();
    using session = await createSession(model(addAndMultiply), { engine });
    const failure = session.run(inputs);
    await expect(failure).rejects.toThrow(ShapeError);
    await expect(failure).rejects.toThrow(says);
    (await session.run({ x: x(2) }))['y']!.dispose();
  });

  test('tensors of another engine, disposed tensors', async () => {
    const [one, two] = [await fakeEngine(), await fakeEngine()];
    using session = await createSession(model(addAndMultiply), { engine: one.engine });
    using other = await createSession(model(addAndMultiply), { engine: two.engine });
    const { y } = await other.run({ x: x(2) });
    await expect(session.run({ x: y! })).rejects.toThrow("another engine's device");
    y!.dispose();
    await expect(other.run({ x: y! })).rejects.toThrow(DisposedError);
  });

  test('targets that do not fit', async () => {
    const { engine } = await fakeEngine();
    using session = await createSession(model(addAndMultiply), { engine });
    const { y } = await session.run({ x: x(2) });
    await session.run({ x: x(2) }, { outputs: { y: y! } });
    await expect(session.run({ x: x(3) }, { outputs: { y: y! } })).rejects.toThrow(
      /output 'y'.*\[3, 3\].*\[2, 3\]/,
    );
    await expect(session.run({ x: x(2) }, { outputs: { y: x(2) } })).rejects.toThrow('on the CPU');
    await expect(session.run({ x: x(2) }, { outputs: { q: y! } })).rejects.toThrow(/output 'q'.*'y'/);
    await expect(session.run({ x: y! }, { outputs: { y: y! } })).rejects.toThrow('also an input');
  });
});

describe('faults leave nothing behind and the engine usable', () => {
  /** Runs `fail` on a session and checks that a new session of the same engine works. */
  async function survives(
    { engine, device }: { engine: Engine; device: FakeDevice },
    fail: (session: Session, weights: GatedSource) => Promise<void>,
  ): Promise<void> {
    const before = usage(engine, device);
    const weights = new GatedSource('weights.bin', 2 * 64 * 64 * 4);
    const session = await products(engine, weights);
    await fail(session, weights);
    // What was aborted may take a moment to notice.
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(usage(engine, device)).toEqual(before);
    (await session.run({ x: wide(2) }))['y']!.dispose();
    session.dispose();
    using next = await products(engine);
    (await next.run({ x: wide(2) }))['y']!.dispose();
  }

  test('a shader that does not compile', async () => {
    const fake = await fakeEngine();
    await survives(fake, async (session) => {
      fake.device.brokenShader = '@compute';
      const failure = session.run({ x: wide(2) });
      await expect(failure).rejects.toThrow(ShaderError);
      await expect(failure).rejects.toThrow(/does not compile.\n3:7 error: unresolved value/);
    }).catch((error: unknown) => {
      // The same engine keeps what it learnt of a kernel: it does not compile the second time either.
      expect(error).toBeInstanceOf(ShaderError);
    });
    expect(fake.engine.buffers.liveBuffers).toBe(0);
  });

  test('weights that cannot be read', async () => {
    const fake = await fakeEngine();
    await survives(fake, async (session, weights) => {
      weights.gate = Promise.reject(new Error('broken disk'));
      await expect(session.run({ x: wide(2) })).rejects.toThrow('broken disk');
      weights.gate = Promise.resolve();
    });
  });

  test('memory that the device does not have', async () => {
    const fake = await fakeEngine();
    await survives(fake, async (session) => {
      fake.device.capacity = 20_000;
      await expect(session.run({ x: wide(2) })).rejects.toThrow(OutOfMemoryError);
      fake.device.capacity = Infinity;
    });
  });

  test('memory beyond the budget is refused before anything is read', async () => {
    const { engine } = await fakeEngine({ memoryBudget: 20_000 });
    const weights = new GatedSource('weights.bin', 2 * 64 * 64 * 4);
    using session = await products(engine, weights);
    await expect(session.run({ x: wide(2) })).rejects.toThrow(OutOfMemoryError);
    expect(weights.reads).toBe(0);
    using small = await createSession(model(addAndMultiply), { engine });
    (await small.run({ x: x(1) }))['y']!.dispose();
  });

  test('programs of other shapes make room', async () => {
    const { engine } = await fakeEngine({ memoryBudget: 40_500 });
    using session = await products(engine);
    for (const rows of [7, 8, 9, 7, 8, 9]) (await session.run({ x: wide(rows) }))['y']!.dispose();
  });

  test('an abort while weights are read rejects at once', async () => {
    const fake = await fakeEngine();
    await survives(fake, async (session, weights) => {
      let open = (): void => {};
      weights.gate = new Promise((resolve) => (open = resolve));
      const controller = new AbortController();
      const running = session.run({ x: wide(2) }, { signal: controller.signal });
      while (weights.reads === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      controller.abort(new Error('changed my mind'));
      await expect(running).rejects.toThrow('changed my mind');
      open();
    });
  });

  test('an abort before the run, and of a run that waits for its turn', async () => {
    const { engine } = await fakeEngine();
    using session = await createSession(model(addAndMultiply), { engine });
    await expect(session.run({ x: x(1) }, { signal: AbortSignal.abort('no') })).rejects.toBe('no');
    const controller = new AbortController();
    const first = session.run({ x: x(1) });
    const second = session.run({ x: x(1) }, { signal: controller.signal });
    controller.abort('no');
    await expect(second).rejects.toBe('no');
    (await first)['y']!.dispose();
    const before = engine.buffers.liveBuffers;
    (await session.run({ x: x(1) }))['y']!.dispose();
    expect(engine.buffers.liveBuffers).toBe(before);
  });

  test('an abort while the structure is read', async () => {
    const { engine } = await fakeEngine();
    const signal = AbortSignal.abort('no');
    await expect(createSession(model(addAndMultiply), { engine, signal })).rejects.toBe('no');
  });

  test('dispose while weights are read', async () => {
    const { engine, device } = await fakeEngine();
    const before = usage(engine, device);
    const weights = new GatedSource('weights.bin', 2 * 64 * 64 * 4);
    let open = (): void => {};
    weights.gate = new Promise((resolve) => (open = resolve));
    const session = await products(engine, weights);
    const running = session.run({ x: wide(2) });
    while (weights.reads === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    session.dispose();
    open();
    await expect(running).rejects.toThrow(DisposedError);
    expect(usage(engine, device)).toEqual(before);
  });

  test('a lost device rejects everything under way and all that follows', async () => {
    const { engine, device } = await fakeEngine();
    const weights = new GatedSource('weights.bin', 2 * 64 * 64 * 4);
    weights.gate = new Promise(() => {});
    using stuck = await products(engine, weights);
    using session = await createSession(model(addAndMultiply), { engine });
    const { y } = await session.run({ x: x(1) });
    const running = stuck.run({ x: wide(2) });
    const waiting = stuck.run({ x: wide(3) });
    while (weights.reads === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    device.lose('unknown');
    const all = await Promise.allSettled([running, waiting, session.run({ x: x(1) }), y!.data()]);
    for (const result of all)
      expect(result).toMatchObject({ status: 'rejected', reason: { reason: 'unknown' } });
    for (const { reason } of all as PromiseRejectedResult[]) expect(reason).toBeInstanceOf(DeviceLostError);
    await expect(engine.lost).resolves.toMatchObject({ reason: 'unknown' });
  });

  test('missing external data', async () => {
    const { engine } = await fakeEngine();
    const source = { store: storeOf(twoProducts), path: 'model.onnx' };
    await expect(createSession(source, { engine })).rejects.toThrow(InvalidModelError);
    using session = await createSession(source, { engine, allowMissingExternalData: true });
    expect((await session.plan({ x: [1, 64] })).weightBytes).toBe(2 * 64 * 64 * 4);
    await expect(session.run({ x: wide(1) })).rejects.toThrow(/external data of tensor '[ab]' is missing/);
    expect(engine.buffers.liveBuffers).toBe(0);
  });

  test('files that are no sound models', async () => {
    const { engine } = await fakeEngine();
    const good = model(addAndMultiply);
    const cycle = model({
      ...addAndMultiply,
      nodes: [
        { op: 'Add', inputs: ['x', 'b'], outputs: ['a'] },
        { op: 'Neg', inputs: ['a'], outputs: ['b'] },
        { op: 'Neg', inputs: ['a'], outputs: ['y'] },
      ],
    });
    const bad: Record<string, Uint8Array<ArrayBuffer>> = {
      truncated: good.slice(0, good.length - 9),
      'wrong magic': new TextEncoder().encode('PK\u0003\u0004 this is a zip file'),
      empty: new Uint8Array(),
      'absurd dims': model({
        ...addAndMultiply,
        initializers: { w: { dtype: 'float32', dims: [2 ** 40, 2 ** 40], raw: new Uint8Array(12) } },
      }),
      cycle,
    };
    for (const [name, bytes] of Object.entries(bad)) {
      await expect(createSession(bytes, { engine }), name).rejects.toThrow(InvalidModelError);
    }
    expect(engine.buffers.liveBuffers).toBe(0);
  });
});
