import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { float32, int64, model, type ModelSpec } from '../../test/onnx-writer.ts';
import { addAndMultiply, GatedSource, storeOf, twoProducts } from '../../test/tiny-models.ts';
import {
  createSession,
  CustomKernel,
  DeviceLostError,
  Engine,
  ortIsLoaded,
  setOrtAssets,
  ShapeError,
  Tensor,
  UnsupportedDeviceError,
  UnsupportedOpError,
} from '../index.ts';

let engine: Engine;
beforeAll(async () => void (engine = await Engine.create({ precision: 'f32' })));
afterAll(() => engine.dispose());

const floats = (shape: number[], data: number[]) => new Tensor('float32', shape, Float32Array.from(data));

function expectClose(actual: ArrayLike<number | bigint>, expected: number[]): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, i) => expect(Number(actual[i])).toBeCloseTo(value, 5));
}

/** `Det` has no kernel here and none for WebGPU in onnxruntime; y = det(2x) + 1. */
const determinant: ModelSpec = {
  inputs: [{ name: 'x', dtype: 'float32', shape: ['n', 2, 2] }],
  outputs: [{ name: 'y', dtype: 'float32', shape: ['n'] }],
  nodes: [
    { op: 'Add', inputs: ['x', 'x'], outputs: ['twice'] },
    { op: 'Det', name: 'd', inputs: ['twice'], outputs: ['det'] },
    { op: 'Constant', outputs: ['one'], attributes: { value_float: { float: 1 } } },
    { op: 'Add', inputs: ['det', 'one'], outputs: ['y'] },
  ],
};
const matrices = () => floats([2, 2, 2], [1, 2, 3, 4, 5, 0, 0, 6]);

/** The shape of `y`, where the softmax of `x` is above 0.3, depends on what is computed. */
const large: ModelSpec = {
  inputs: [{ name: 'x', dtype: 'float32', shape: ['n'] }],
  outputs: [{ name: 'y', dtype: 'int64', shape: [1, 'found'] }],
  initializers: { limit: float32([], [0.3]) },
  nodes: [
    { op: 'Softmax', inputs: ['x'], outputs: ['share'], attributes: { axis: { int: 0 } } },
    { op: 'Greater', inputs: ['share', 'limit'], outputs: ['is_large'] },
    { op: 'NonZero', name: 'where', inputs: ['is_large'], outputs: ['y'] },
  ],
};

describe('operators without kernels', () => {
  test('onnxruntime is not loaded for models that need none', async () => {
    using session = await createSession(model(addAndMultiply), { engine });
    (await session.run({ x: floats([1, 3], [1, 2, 3]) }))['y']!.dispose();
    expect(ortIsLoaded()).toBe(false);
  });

  test('are refused where the fallback is forbidden', async () => {
    using session = await createSession(model(determinant), { engine, fallback: 'forbid' });
    const failure = session.run({ x: matrices() });
    await expect(failure).rejects.toThrow(UnsupportedOpError);
    await expect(failure).rejects.toMatchObject({ ops: [{ op: 'Det', node: 'd' }] });
    expect(ortIsLoaded()).toBe(false);
  });

  test('run between what is launched before and after them', async () => {
    const spec: ModelSpec = {
      inputs: [{ name: 'x', dtype: 'float32', shape: [1, 2, 2] }],
      outputs: [{ name: 'y', dtype: 'float32', shape: [1] }],
      nodes: [{ op: 'Det', name: 'd', inputs: ['x'], outputs: ['y'] }],
    };
    const twice = await CustomKernel.create(engine, {
      name: 'twice',
      body: `@compute @workgroup_size(1) fn main() {
        for (var i = 0u; i < params.elements; i++) { y_store(i, 2.0 * x_load(i)); }
      }`,
      inputs: { x: 'f32' },
      outputs: { y: 'f32' },
      params: { elements: 'u32' },
    });
    const [from, to, taken] = ['from', 'to', 'taken'].map((label) => engine.buffers.acquire(16, label));
    engine.write(from!, 0, Float32Array.of(4, 5, 0, 6));
    using x = new Tensor('float32', [1, 2, 2], { engine, buffer: to!, storage: 'f32' });
    using session = await createSession(model(spec), { engine });
    const { y } = await session.run(
      { x },
      {
        before: () => twice.run({ x: from!, y: to! }, { elements: 4 }, 1),
        after: (results) => twice.run({ x: results['y']!.gpu!.buffer, y: taken! }, { elements: 1 }, 1),
      },
    );
    expectClose(new Float32Array((await engine.readBack.read(taken!, 4)).buffer), [2 * 8 * 12]);
    y!.dispose();
    for (const buffer of [from!, taken!]) engine.buffers.release(buffer);
    twice.dispose();
  });

  test('run between ours, and leave nothing behind', async () => {
    const before = engine.buffers.liveBuffers;
    {
      using session = await createSession(model(determinant), { engine });
      for (let run = 0; run < 2; run++) {
        const { y } = await session.run({ x: matrices() });
        expectClose(await y!.data(), [4 * -2 + 1, 4 * 30 + 1]);
        y!.dispose();
      }
      const report = session.report();
      expect(report.path).toBe('mixed');
      expect(report.islands).toMatchObject([
        { operators: [{ op: 'Det', node: 'd', reason: 'it is not defined' }], provider: 'webgpu', runs: 2 },
      ]);
      expect(String(report)).toContain('onnxruntime (webgpu) runs Det: it is not defined');
      expect(report.operators).toContainEqual({ op: 'Det', domain: '', nodes: 1, runtime: 'onnxruntime' });
    }
    expect(engine.buffers.liveBuffers).toBe(before);
    expect(() => setOrtAssets({})).toThrow('loaded already');
  });

  test('that nothing knows end the whole model, by name', async () => {
    const spec: ModelSpec = {
      ...addAndMultiply,
      nodes: [
        ...addAndMultiply.nodes!.slice(0, 1),
        { op: 'Bogus', name: 'bad', domain: 'nowhere', inputs: ['sum'], outputs: ['y'] },
      ],
      opsets: { '': 17, nowhere: 1 },
    };
    using session = await createSession(model(spec), { engine });
    await expect(session.run({ x: floats([1, 3], [1, 2, 3]) })).rejects.toThrow(/nowhere|Bogus/);
    using next = await createSession(model(addAndMultiply), { engine });
    (await next.run({ x: floats([1, 3], [1, 2, 3]) }))['y']!.dispose();
  });
});

describe('a device that is lost', () => {
  test('takes its islands with it, and only those', async () => {
    const doomed = await Engine.create({ precision: 'f32' });
    using lost = await createSession(model(determinant), { engine: doomed });
    using session = await createSession(model(determinant), { engine });
    (await lost.run({ x: matrices() }))['y']!.dispose();
    const running = lost.run({ x: matrices() });
    doomed.device.destroy();
    // It may have been quick enough.
    const [result] = await Promise.allSettled([running]);
    if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(DeviceLostError);
    await expect(lost.run({ x: matrices() })).rejects.toThrow(DeviceLostError);
    expectClose(await (await session.run({ x: matrices() }))['y']!.data(), [-7, 121]);
    using next = await createSession(model(determinant), { precision: 'f32' });
    expectClose(await (await next.run({ x: matrices() }))['y']!.data(), [-7, 121]);
    expect(next.report().islands[0]!.provider).toBe('webgpu');
  });
});

describe('whole models on the CPU', () => {
  const webgpu = Object.getOwnPropertyDescriptor(Navigator.prototype, 'gpu');
  afterEach(() => void (webgpu && Object.defineProperty(Navigator.prototype, 'gpu', webgpu)));
  const withoutWebGpu = (): void => {
    Object.defineProperty(Navigator.prototype, 'gpu', { value: undefined, configurable: true });
  };

  test('shapes that depend on data', async () => {
    using session = await createSession(model(large), { engine });
    const cases = [
      { x: [1, -9, 1], expected: [0, 2] },
      { x: [0, 0, 0, 5], expected: [3] },
    ];
    for (const { x, expected } of cases) {
      const { y } = await session.run({ x: floats([x.length], x) });
      expect(y!.location).toBe('cpu');
      expect(y!.shape).toEqual([1, expected.length]);
      expect(Array.from(await y!.data(), Number)).toEqual(expected);
    }
    expect(session.report()).toMatchObject({ path: 'cpu', islands: [] });
    expect(session.report().reason).toContain("NonZero 'where'");
    await expect(session.run({ x: floats([1, 1], [1]) })).rejects.toThrow(ShapeError);
    await expect(session.run({ z: floats([1], [1]) })).rejects.toThrow(/input 'z'/);
  });

  test('loops', async () => {
    // Adds x to itself three times.
    const spec: ModelSpec = {
      inputs: [{ name: 'x', dtype: 'float32', shape: [2] }],
      outputs: [{ name: 'y', dtype: 'float32', shape: [2] }],
      initializers: { trips: int64([], [3]), go: { dtype: 'bool', dims: [], raw: Uint8Array.of(1) } },
      nodes: [
        {
          op: 'Loop',
          inputs: ['trips', 'go', 'x'],
          outputs: ['y'],
          attributes: {
            body: {
              graph: {
                inputs: [
                  { name: 'i', dtype: 'int64', shape: [] },
                  { name: 'on', dtype: 'bool', shape: [] },
                  { name: 'a', dtype: 'float32', shape: [2] },
                ],
                nodes: [
                  { op: 'Identity', inputs: ['on'], outputs: ['still'] },
                  { op: 'Add', inputs: ['a', 'x'], outputs: ['b'] },
                ],
                outputs: [
                  { name: 'still', dtype: 'bool', shape: [] },
                  { name: 'b', dtype: 'float32', shape: [2] },
                ],
              },
            },
          },
        },
      ],
    };
    using session = await createSession(model(spec), { engine });
    const { y } = await session.run({ x: floats([2], [1, -2]) });
    expect([...(await y!.data())]).toEqual([4, -8]);
    // A target on the GPU is filled from the CPU.
    using maker = await createSession(model(addAndMultiply), { engine });
    const { y: other } = await maker.run({ x: floats([1, 3], [1, 2, 3]) });
    const buffer = engine.buffers.acquire(16, 'target');
    using target = new Tensor('float32', [2], { engine, buffer, storage: 'f32' });
    await session.run({ x: floats([2], [3, 5]) }, { outputs: { y: target } });
    expect([...(await target.data())]).toEqual([12, 20]);
    other!.dispose();
  });

  test('without WebGPU', async () => {
    withoutWebGpu();
    await expect(createSession(model(addAndMultiply), { fallback: 'forbid' })).rejects.toThrow(
      UnsupportedDeviceError,
    );
    using session = await createSession(model(addAndMultiply));
    expect(session.engine).toBeUndefined();
    const { y } = await session.run({ x: floats([1, 3], [1, 2, 3]) });
    expect([...(await y!.data())]).toEqual([2, 8, 18]);
    expect(session.report()).toMatchObject({ path: 'cpu' });
    expect(session.report().reason).toContain('no WebGPU');
    await expect(session.plan({ x: [1, 3] })).rejects.toThrow(UnsupportedDeviceError);
    session.dispose();
    await expect(session.run({ x: floats([1, 3], [1, 2, 3]) })).rejects.toThrow(
      'The session was used after dispose',
    );
  });

  test('weights in other files, and an abort while they are read', async () => {
    withoutWebGpu();
    const weights = new GatedSource('weights.bin', 2 * 64 * 64 * 4);
    const source = { store: storeOf(twoProducts, { 'weights.bin': weights }), path: 'model.onnx' };
    using session = await createSession(source);
    const x = floats(
      [1, 64],
      Array.from({ length: 64 }, () => 1),
    );
    let open = (): void => {};
    weights.gate = new Promise((resolve) => (open = resolve));
    const controller = new AbortController();
    const running = session.run({ x }, { signal: controller.signal });
    while (weights.reads === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    controller.abort('stop');
    await expect(running).rejects.toBe('stop');
    open();
    const progress: number[] = [];
    const { y } = await session.run({ x }, { onProgress: ({ done, total }) => progress.push(done / total) });
    expect([...(await y!.data())]).toEqual(Array.from({ length: 64 }, () => 0));
    expect(progress.at(-1)).toBe(1);
  });
});
