import { describe, expect, test } from 'vitest';
import { fakeEngine } from '../test/fake-device.ts';
import { model, type ModelSpec, type TensorSpec } from '../test/onnx-writer.ts';
import { GatedSource, storeOf, twoProducts } from '../test/tiny-models.ts';
import {
  createSession,
  footprintOf,
  OutOfMemoryError,
  Tensor,
  type ByteSource,
  type Engine,
  type Session,
  type WeightFormat,
} from './index.ts';

const weightBytes = 2 * 64 * 64 * 4;
const wide = (rows: number) => new Tensor('float32', [rows, 64], new Float32Array(rows * 64));

async function products(engine: Engine): Promise<{ session: Session; weights: GatedSource }> {
  const weights = new GatedSource('weights.bin', weightBytes);
  const store = storeOf(twoProducts, { 'weights.bin': weights });
  return { weights, session: await createSession({ store, path: 'model.onnx' }, { engine }) };
}

async function run(session: Session, rows = 2): Promise<void> {
  for (const tensor of Object.values(await session.run({ x: wide(rows) }))) tensor.dispose();
}

const window = { pads: { ints: [1, 1, 1, 1] }, kernel_shape: { ints: [3, 3] } };
const kernel = (channels: number): TensorSpec => ({
  dtype: 'float32',
  dims: [64, channels, 3, 3],
  raw: new Uint8Array(64 * channels * 9 * 4),
});

/** A convolution, whose weights are packed while they load. */
const convolution: ModelSpec = {
  inputs: [{ name: 'x', dtype: 'float32', shape: [1, 32, 16, 16] }],
  outputs: [{ name: 'y', dtype: 'float32', shape: [1, 64, 16, 16] }],
  initializers: { w: kernel(32) },
  nodes: [{ op: 'Conv', inputs: ['x', 'w'], outputs: ['y'], attributes: window }],
};

/** Three convolutions: the one in the middle is quantized where weights are made smaller. */
const chain: ModelSpec = {
  ...convolution,
  initializers: { w0: kernel(32), w1: kernel(64), w2: kernel(64) },
  nodes: ['x', 'h0', 'h1'].map((from, i) => ({
    op: 'Conv',
    inputs: [from, `w${i}`],
    outputs: [i === 2 ? 'y' : `h${i}`],
    attributes: window,
  })),
};

describe('a memory budget', () => {
  test('two sessions that do not fit beside each other take turns', async () => {
    const { engine } = await fakeEngine({ memoryBudget: 1.5 * weightBytes });
    const [first, second] = [await products(engine), await products(engine)];
    await run(first.session);
    await run(second.session);
    expect(first.session.report().evictions).toBe(1);
    const readBefore = first.weights.reads;
    await run(first.session);
    expect(first.weights.reads).toBeGreaterThan(readBefore);
    expect(second.session.report().evictions).toBe(1);
    expect(second.session.report().toString()).toContain('evicted 1 times');
    expect(engine.buffers.peakBytes).toBeLessThanOrEqual(1.5 * weightBytes);
  });

  test('what fits stays', async () => {
    const { engine } = await fakeEngine({ memoryBudget: 3 * weightBytes });
    const [first, second] = [await products(engine), await products(engine)];
    for (let round = 0; round < 3; round++) {
      await run(first.session);
      await run(second.session);
    }
    expect(first.weights.reads).toBe(1);
    expect([first, second].map(({ session }) => session.report().evictions)).toEqual([0, 0]);
  });

  test('the session used longest ago goes first, and not one that is busy', async () => {
    const { engine } = await fakeEngine({ memoryBudget: 2.5 * weightBytes });
    const [a, b, c] = [await products(engine), await products(engine), await products(engine)];
    await run(a.session);
    await run(b.session);
    const busy = a.session.run({ x: wide(2) });
    await run(c.session);
    (await busy)['y']!.dispose();
    expect([a, b, c].map(({ session }) => session.report().evictions)).toEqual([0, 1, 0]);
  });

  test('one that is lowered later takes memory back at once, and is kept from then on', async () => {
    const { engine } = await fakeEngine();
    const [first, second] = [await products(engine), await products(engine)];
    await run(first.session);
    await run(second.session);
    expect(engine.buffers.bytes).toBeGreaterThan(2 * weightBytes);
    engine.memoryBudget = 1.5 * weightBytes;
    expect(engine.buffers.bytes).toBeLessThanOrEqual(engine.memoryBudget);
    const evictions = (): number[] => [first, second].map(({ session }) => session.report().evictions);
    expect(evictions()).toEqual([1, 0]);
    await run(first.session);
    expect(evictions()).toEqual([1, 1]);
    expect(engine.buffers.bytes).toBeLessThanOrEqual(engine.memoryBudget);
    engine.memoryBudget = Infinity;
    await run(second.session);
    expect(evictions()).toEqual([1, 1]);
    for (const none of [0, -1, NaN]) expect(() => (engine.memoryBudget = none)).toThrow(RangeError);
    await expect(fakeEngine({ memoryBudget: NaN })).rejects.toThrow(RangeError);
  });

  test('a model that does not fit alone is refused before anything is read, and the others stay usable', async () => {
    const { engine } = await fakeEngine({ memoryBudget: 0.9 * weightBytes });
    const { session, weights } = await products(engine);
    await expect(run(session)).rejects.toThrow(OutOfMemoryError);
    expect(weights.reads).toBe(0);
    using small = await createSession(model(convolution), { engine: (await fakeEngine()).engine });
    await expect(small.prepare({ x: [1, 32, 16, 16] })).resolves.toBeUndefined();
  });

  test('evict gives memory back; the next run makes it again', async () => {
    const { engine } = await fakeEngine();
    const { session } = await products(engine);
    expect(session.evict()).toBe(false);
    await run(session);
    const pending = session.run({ x: wide(2) });
    expect(session.evict()).toBe(false);
    (await pending)['y']!.dispose();
    expect(session.evict()).toBe(true);
    expect(engine.buffers.liveBytes).toBe(0);
    await run(session);
    expect(engine.buffers.liveBytes).toBeGreaterThan(weightBytes);
  });
});

describe('footprint', () => {
  test.each<[string, ModelSpec, { x: number[] }, WeightFormat?]>([
    ['weights as stored', twoProducts, { x: [3, 64] }],
    ['packed weights', convolution, { x: [1, 32, 16, 16] }],
    ['weights made int8', chain, { x: [1, 32, 16, 16] }, 'int8'],
    ['weights made int4', chain, { x: [1, 32, 16, 16] }, 'int4'],
  ])('of %s is what the device sees', async (_, spec, shapes, weights = 'as-stored') => {
    const { engine, device } = await fakeEngine();
    const file = new GatedSource('weights.bin', weightBytes);
    const store = storeOf(spec, { 'weights.bin': file });
    using session = await createSession({ store, path: 'model.onnx' }, { engine, weights });
    const footprint = footprintOf(await session.plan(shapes));
    expect(engine.buffers.created).toBe(0);
    await session.prepare(shapes);
    expect(engine.buffers.peakBytes).toBe(footprint.loadPeakBytes);
    const shape = shapes.x;
    const elements = shape.reduce((product, dim) => product * dim, 1);
    await session.run({ x: new Tensor('float32', shape, new Float32Array(elements)) });
    expect(engine.buffers.peakBytes).toBe(footprint.peakBytes);
    // Beside the pool there are the parameters of one dispatch of loading.
    expect(device.peakBytes / footprint.peakBytes).toBeLessThan(1.001);
    if (spec === twoProducts) expect(footprint.readBytes).toBe(weightBytes);
    if (spec === convolution) expect(footprint.readBytes).toBe(64 * 32 * 9 * 4);
    expect(session.report().quantized.map(({ name }) => name)).toEqual(spec === chain ? ['w1'] : []);
  });
});

test('weights of dtypes that no kernel reads are converted piece by piece', async () => {
  const rows = 1200;
  // 9.6 MB in the file: more than one block.
  const values = Float64Array.from({ length: rows * 1000 }, (_, i) => i / 7);
  const file = new Uint8Array(values.buffer);
  let longest = 0;
  const source: ByteSource = {
    name: 'weights.bin',
    size: async () => file.length,
    async read(offset, length) {
      longest = Math.max(longest, length);
      return file.slice(offset, offset + length);
    },
  };
  const spec: ModelSpec = {
    inputs: [{ name: 'i', dtype: 'int32', shape: [1] }],
    outputs: [{ name: 'y', dtype: 'float64', shape: [1, 1000] }],
    initializers: {
      w: {
        dtype: 'float64',
        dims: [rows, 1000],
        external: { location: 'weights.bin', offset: '0', length: String(file.length) },
      },
    },
    nodes: [{ op: 'Gather', inputs: ['w', 'i'], outputs: ['y'] }],
  };
  const { engine, device } = await fakeEngine();
  using session = await createSession(
    { store: storeOf(spec, { 'weights.bin': source }), path: 'model.onnx' },
    { engine },
  );
  await session.prepare({ i: [1] });
  const buffer = [...device.live].find(({ size }) => size === file.length / 2)!;
  expect(new Float32Array(buffer.bytes.buffer)).toEqual(Float32Array.from(values));
  expect(longest).toBeLessThanOrEqual(8 * 2 ** 20);
});
