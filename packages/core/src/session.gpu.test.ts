import { beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../test/engine.ts';
import { float32, model, type ModelSpec } from '../test/onnx-writer.ts';
import { addAndMultiply } from '../test/tiny-models.ts';
import {
  createSession,
  CustomKernel,
  DeviceLostError,
  DisposedError,
  Engine,
  NumericError,
  Tensor,
  type Tensors,
} from './index.ts';

let engine: Engine;
beforeAll(async () => void (engine = await pageEngine()));
const floats = (shape: number[], data: number[]) => new Tensor('float32', shape, Float32Array.from(data));

async function numbers(tensor: Tensor | undefined): Promise<number[]> {
  const data: ArrayLike<number | bigint> = await tensor!.data();
  tensor!.dispose();
  return Array.from(data, Number);
}

describe('session', () => {
  test('tells what the graph declares', async () => {
    using session = await createSession(model(addAndMultiply), { engine });
    expect(session.inputs).toEqual([{ name: 'x', dtype: 'float32', shape: ['n', 3] }]);
    expect(session.outputs).toEqual([{ name: 'y', dtype: 'float32', shape: ['n', 3] }]);
    expect(session.report().path).toBe('unprepared');
  });

  test('runs at several shapes, one of them empty', async () => {
    using session = await createSession(model(addAndMultiply), { engine });
    for (const rows of [1, 2, 0, 5]) {
      const x = Array.from({ length: rows * 3 }, (_, i) => i - 2);
      const { y } = await session.run({ x: floats([rows, 3], x) });
      expect(y!.shape).toEqual([rows, 3]);
      expect(await numbers(y)).toEqual(x.map((value, i) => (value + (i % 3) + 1) * value));
    }
    expect(session.report().path).toBe('webgpu');
    expect(String(session.report())).toMatch(/^webgpu f32 /);
  });

  test('results are inputs of other runs without leaving the GPU', async () => {
    using session = await createSession(model(addAndMultiply), { engine });
    const readBacks = engine.readBack.count;
    const { y } = await session.run({ x: floats([1, 3], [1, 1, 1]) });
    const again = await session.run({ x: y! });
    expect(engine.readBack.count).toBe(readBacks);
    expect(await numbers(again['y'])).toEqual([(2 + 1) * 2, (3 + 2) * 3, (4 + 3) * 4]);
    y!.dispose();
  });

  test('writes into tensors of the caller', async () => {
    using session = await createSession(model(addAndMultiply), { engine });
    const { y } = await session.run({ x: floats([1, 3], [1, 1, 1]) });
    const results = await session.run({ x: floats([1, 3], [0, 1, 2]) }, { outputs: { y: y! } });
    expect(results['y']).toBe(y);
    expect(await numbers(y)).toEqual([0, 3, 10]);
  });

  test('kernels launched before and after a run make its inputs and take up its results', async () => {
    const times = await CustomKernel.create(engine, {
      name: 'times',
      body: `@compute @workgroup_size(1) fn main() {
        for (var i = 0u; i < params.elements; i++) { y_store(i, params.factor * x_load(i)); }
      }`,
      inputs: { x: 'f32' },
      outputs: { y: 'f32' },
      params: { elements: 'u32', factor: 'f32' },
    });
    const buffer = engine.buffers.acquire(16, 'x');
    using x = new Tensor('float32', [1, 3], { engine, buffer, storage: 'f32' });
    using ones = new Tensor('float32', [3], {
      engine,
      buffer: engine.buffers.acquire(16, 'ones'),
      storage: 'f32',
    });
    engine.write(ones.gpu!.buffer, 0, Float32Array.of(1, 1, 1));
    using taken = new Tensor('float32', [3], {
      engine,
      buffer: engine.buffers.acquire(16, 'taken'),
      storage: 'f32',
    });
    for (const checkNumerics of [false, true]) {
      using session = await createSession(model(addAndMultiply), { engine, checkNumerics });
      for (const factor of [2, 3]) {
        const options = {
          before: () => times.run({ x: ones.gpu!.buffer, y: buffer }, { elements: 3, factor }, 1),
          after: ({ y }: Readonly<Tensors>) =>
            times.run({ x: y!.gpu!.buffer, y: taken.gpu!.buffer }, { elements: 3, factor: 10 }, 1),
        };
        const expected = [1, 2, 3].map((w) => 10 * (factor + w) * factor);
        (await session.run({ x }, options))['y']!.dispose();
        expect([...(await taken.data())]).toEqual(expected);
        engine.write(taken.gpu!.buffer, 0, new Float32Array(3));
        (await session.profile({ x }, options)).outputs['y']!.dispose();
        expect([...(await taken.data())]).toEqual(expected);
      }
    }
    times.dispose();
  });

  test('activations on the GPU may be halves', async () => {
    using session = await createSession(model(addAndMultiply), { engine });
    const buffer = engine.buffers.acquire(16, 'halves');
    // 1, 2 and -0.5
    engine.device.queue.writeBuffer(buffer, 0, Uint16Array.of(0x3c00, 0x4000, 0xb800, 0));
    using x = new Tensor('float32', [1, 3], { engine, buffer, storage: 'f16' });
    expect(await numbers((await session.run({ x }))['y'])).toEqual([2, 8, -1.25]);
    expect(await numbers((await session.run({ x: floats([1, 3], [1, 2, -0.5]) }))['y'])).toEqual([
      2, 8, -1.25,
    ]);
  });

  test('64-bit and narrow integers go in and come out as they are', async () => {
    const spec: ModelSpec = {
      inputs: [
        { name: 'i', dtype: 'int64', shape: [3] },
        { name: 'b', dtype: 'bool', shape: [3] },
        { name: 'u', dtype: 'uint8', shape: [3] },
      ],
      outputs: [
        { name: 'doubled', dtype: 'int64', shape: [3] },
        { name: 'not', dtype: 'bool', shape: [3] },
        { name: 'same', dtype: 'uint8', shape: [3] },
      ],
      nodes: [
        { op: 'Add', inputs: ['i', 'i'], outputs: ['doubled'] },
        { op: 'Not', inputs: ['b'], outputs: ['not'] },
        { op: 'Identity', inputs: ['u'], outputs: ['same'] },
      ],
    };
    using session = await createSession(model(spec), { engine });
    const results = await session.run({
      i: new Tensor('int64', [3], Int32Array.of(1, -2, 1 << 20)),
      b: new Tensor('bool', [3], Uint8Array.of(0, 1, 0)),
      u: new Tensor('uint8', [3], Uint8Array.of(0, 128, 255)),
    });
    expect(await results['doubled']!.data()).toEqual(BigInt64Array.of(2n, -4n, 2n << 20n));
    expect(await results['not']!.data()).toEqual(Uint8Array.of(1, 0, 1));
    expect(await results['same']!.data()).toEqual(Uint8Array.of(0, 128, 255));
    for (const tensor of Object.values(results)) tensor.dispose();
  });

  test('shapes may depend on the elements of inputs', async () => {
    const spec: ModelSpec = {
      inputs: [
        { name: 'x', dtype: 'float32', shape: [1, 2] },
        { name: 'size', dtype: 'int64', shape: [2] },
      ],
      outputs: [{ name: 'y', dtype: 'float32', shape: ['a', 'b'] }],
      nodes: [
        { op: 'Expand', inputs: ['x', 'size'], outputs: ['wide'] },
        { op: 'Neg', inputs: ['wide'], outputs: ['y'] },
      ],
    };
    using session = await createSession(model(spec), { engine });
    const x = floats([1, 2], [1, 2]);
    for (const rows of [3, 1, 3]) {
      const size = new Tensor('int64', [2], Int32Array.of(rows, 2));
      const { y } = await session.run({ x, size });
      expect(y!.shape).toEqual([rows, 2]);
      expect(await numbers(y)).toEqual(Array.from({ length: rows }, () => [-1, -2]).flat());
    }
    await expect(session.plan({ x: [1, 2], size: [2] })).rejects.toThrow(/input 'size': expected a tensor/);
  });

  test('what depends on stable inputs is computed once for each', async () => {
    const spec: ModelSpec = {
      inputs: [
        { name: 'prompt', dtype: 'float32', shape: [4] },
        { name: 'x', dtype: 'float32', shape: [4] },
      ],
      outputs: [{ name: 'y', dtype: 'float32', shape: [8] }],
      nodes: [
        { op: 'MatMul', inputs: ['prompt', 'w'], outputs: ['key'] },
        { op: 'Concat', inputs: ['key', 'x'], outputs: ['y'], attributes: { axis: { int: 0 } } },
      ],
      initializers: {
        w: float32(
          [4, 4],
          Array.from({ length: 16 }, (_, i) => Number(i % 5 === 0) * 2),
        ),
      },
    };
    using session = await createSession(model(spec), { engine, stableInputs: ['prompt'] });
    const { steps } = await session.plan({ prompt: [4], x: [4] });
    expect(steps.map(({ phase }) => phase).filter((phase) => phase !== 'load')).toEqual(['request', 'run']);
    const contents = Float32Array.of(1, 2, 3, 4);
    const prompt = new Tensor('float32', [4], contents);
    const run = async (x: number, with_ = prompt) =>
      numbers((await session.run({ prompt: with_, x: floats([4], [x, x, x, x]) }))['y']);
    expect(await run(0)).toEqual([2, 4, 6, 8, 0, 0, 0, 0]);
    contents.fill(0);
    expect(await run(1)).toEqual([2, 4, 6, 8, 1, 1, 1, 1]);
    prompt.markChanged();
    expect(await run(1)).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
    expect(await run(0, floats([4], [5, 5, 5, 5]))).toEqual([10, 10, 10, 10, 0, 0, 0, 0]);
    expect(await run(2)).toEqual([0, 0, 0, 0, 2, 2, 2, 2]);
  });

  test('looks for NaN where asked to', async () => {
    const spec: ModelSpec = {
      inputs: [{ name: 'x', dtype: 'float32', shape: ['n'] }],
      outputs: [{ name: 'y', dtype: 'float32', shape: ['n'] }],
      nodes: [{ op: 'Neg', inputs: ['x'], outputs: ['y'] }],
    };
    using session = await createSession(model(spec), { engine, checkNumerics: true });
    const x = Array.from({ length: 1000 }, () => 1);
    (await session.run({ x: floats([1000], x) }))['y']!.dispose();
    const before = engine.buffers.liveBuffers;
    for (const bad of [NaN, Infinity]) {
      x[777] = bad;
      const failure = session.run({ x: floats([1000], x) });
      await expect(failure).rejects.toThrow(NumericError);
      await expect(failure).rejects.toThrow("'y' holds NaN");
    }
    expect(engine.buffers.liveBuffers).toBe(before);
  });

  test('takes times of dispatches', async () => {
    using session = await createSession(model(addAndMultiply), { engine });
    const { outputs, dispatches } = await session.profile({ x: floats([1, 3], [1, 2, 3]) });
    expect(await numbers(outputs['y'])).toEqual([2, 8, 18]);
    expect(dispatches).toHaveLength(1);
    expect(dispatches[0]).toMatchObject({ kernel: 'elementwise_f32', bytes: 36 });
    expect(dispatches[0]!.microseconds).toBeGreaterThanOrEqual(0);
  });
});

describe('a device that is lost', () => {
  test('rejects what is under way; a new engine works', async () => {
    const doomed = await Engine.create({ precision: 'f32' });
    const session = await createSession(model(addAndMultiply), { engine: doomed });
    const { y } = await session.run({ x: floats([1, 3], [1, 1, 1]) });
    const reading = y!.data();
    const preparing = session.run({ x: floats([2, 3], [1, 1, 1, 1, 1, 1]) });
    doomed.device.destroy();
    for (const result of await Promise.allSettled([reading, preparing])) {
      // Reading may have been quick enough.
      if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(DeviceLostError);
    }
    await doomed.lost;
    await expect(session.run({ x: floats([1, 3], [1, 1, 1]) })).rejects.toThrow(DeviceLostError);
    await expect(y!.data()).rejects.toThrow(DeviceLostError);
    await expect(
      createSession(model(addAndMultiply), { engine: doomed }).then((s) => s.prepare({ x: [1, 3] })),
    ).rejects.toThrow(DeviceLostError);
    session.dispose();
    doomed.dispose();

    using next = await createSession(model(addAndMultiply), { precision: 'f32' });
    expect(await numbers((await next.run({ x: floats([1, 3], [1, 1, 1]) }))['y'])).toEqual([2, 3, 4]);
  });

  test('an abort between two submissions stops a run', async () => {
    // More dispatches than one command buffer holds: products do not fuse.
    const count = 120;
    const spec: ModelSpec = {
      inputs: [{ name: 'h0', dtype: 'float32', shape: [1, 4] }],
      outputs: [{ name: `h${count}`, dtype: 'float32', shape: [1, 4] }],
      initializers: {
        w: float32(
          [4, 4],
          Array.from({ length: 16 }, (_, i) => Number(i % 5 === 0)),
        ),
      },
      nodes: Array.from({ length: count }, (_, i) => ({
        op: 'MatMul',
        inputs: [`h${i}`, 'w'],
        outputs: [`h${i + 1}`],
      })),
    };
    using session = await createSession(model(spec), { engine });
    const feeds: Tensors = { h0: floats([1, 4], [1, 2, 3, 4]) };
    expect(await numbers((await session.run(feeds))[`h${count}`])).toEqual([1, 2, 3, 4]);
    const before = engine.buffers.liveBuffers;
    const controller = new AbortController();
    const running = session.run(feeds, { signal: controller.signal });
    queueMicrotask(() => controller.abort('stop'));
    await expect(running).rejects.toBe('stop');
    expect(await numbers((await session.run(feeds))[`h${count}`])).toEqual([1, 2, 3, 4]);
    expect(engine.buffers.liveBuffers).toBe(before);

    const last = session.run(feeds, { signal: new AbortController().signal });
    queueMicrotask(() => session.dispose());
    await expect(last).rejects.toThrow(DisposedError);
  });
});
