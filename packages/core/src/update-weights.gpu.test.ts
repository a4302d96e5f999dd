import { beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../test/engine.ts';
import { inOut, merged, tensor, update } from '../test/low-rank.ts';
import { model, type ModelSpec, type TensorSpec } from '../test/onnx-writer.ts';
import { random, relativeL2 } from '../test/run-graph.ts';
import {
  createSession,
  type Engine,
  Tensor,
  WeightUpdateError,
  type Session,
  type WeightInfo,
} from './index.ts';

let engine: Engine;
beforeAll(async () => void (engine = await pageEngine()));
const floats = (dims: number[], values: ArrayLike<number>): TensorSpec => ({
  dtype: 'float32',
  dims,
  raw: new Uint8Array(Float32Array.from(values).buffer),
});

describe('updateWeights', () => {
  const products: ModelSpec = {
    opsets: { '': 17 },
    inputs: [
      { name: 'x', dtype: 'float32', shape: ['n', 8] },
      { name: 'context', dtype: 'float32', shape: [2, 8] },
    ],
    outputs: [{ name: 'y', dtype: 'float32', shape: ['n', 8] }],
    initializers: {
      a: floats([8, 8], random(64, 1)),
      // The same contents under another name.
      b: floats([8, 8], random(64, 1)),
      k: floats([8, 8], random(64, 2)),
    },
    nodes: [
      { op: 'MatMul', inputs: ['x', 'a'], outputs: ['h'] },
      { op: 'MatMul', inputs: ['h', 'b'], outputs: ['g'] },
      { op: 'MatMul', inputs: ['context', 'k'], outputs: ['keys'] },
      { op: 'ReduceMax', inputs: ['keys'], outputs: ['bias'], attributes: { axes: { ints: [0] } } },
      { op: 'Add', inputs: ['g', 'bias'], outputs: ['y'] },
    ],
  };
  const feeds = (rows: number) => ({
    x: new Tensor('float32', [rows, 8], Float32Array.from(random(rows * 8, 3))),
    context: new Tensor('float32', [2, 8], Float32Array.from(random(16, 4))),
  });
  const output = async (session: Session, rows: number): Promise<Float32Array> => {
    const { y } = await session.run(feeds(rows));
    const data = (await y!.data()) as Float32Array;
    y!.dispose();
    return data;
  };
  const info = (session: Session, name: string): WeightInfo =>
    session.weights.find((weight) => weight.name === name)!;

  test('reaches the programs of all shapes, and only the weight that is named', async () => {
    using session = await createSession(model(products), { engine, precision: 'f32' });
    const before = [await output(session, 1), await output(session, 3)];
    const own = update(info(session, 'b'), 2, 1, 50);
    const turned = products.initializers!['b']!;
    const index = inOut(8, 8);
    const changed = tensor(index, merged(info(session, 'b'), index, random(64, 1), [own]));
    using other = await createSession(
      model({ ...products, initializers: { ...products.initializers, b: { ...turned, ...changed } } }),
      { engine, precision: 'f32' },
    );
    await session.updateWeights(new Map([['b', [own]]]));
    for (const rows of [1, 3, 2]) {
      expect(relativeL2(await output(session, rows), await output(other, rows))).toBeLessThan(1e-6);
    }
    await session.updateWeights(new Map());
    expect([await output(session, 1), await output(session, 3)]).toEqual(before);
  });

  test.each(['f16', 'int8', 'int4'] as const)(
    'weights made %s while loading are updated before',
    async (weights) => {
      // Formats of few bits are for weights that are worth it.
      const [ins, outs] = [256, 128];
      const spec = (values: ArrayLike<number>): ModelSpec => ({
        opsets: { '': 17 },
        inputs: [{ name: 'x', dtype: 'float32', shape: [4, ins] }],
        outputs: [{ name: 'y', dtype: 'float32', shape: [4, outs] }],
        initializers: { w: floats([ins, outs], values) },
        nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }],
      });
      const values = random(ins * outs, 1);
      const x = new Tensor('float32', [4, ins], Float32Array.from(random(4 * ins, 3)));
      const result = async (session: Session): Promise<Float32Array> => {
        const { y } = await session.run({ x });
        const data = (await y!.data()) as Float32Array;
        y!.dispose();
        return data;
      };
      const options = { engine, precision: 'f32', weights } as const;
      using session = await createSession(model(spec(values)), options);
      const before = await result(session);
      const own = update(info(session, 'w'), 2, 0.5, 50);
      const layout = inOut(ins, outs);
      using other = await createSession(
        model(spec(merged(info(session, 'w'), layout, Float64Array.from(values), [own]))),
        options,
      );
      await session.updateWeights(new Map([['w', [own]]]));
      // A value at the border between two integers may fall to either side.
      expect(relativeL2(await result(session), await result(other))).toBeLessThan(
        weights === 'int4' ? 1e-2 : 1e-3,
      );
      await session.updateWeights(new Map());
      expect(await result(session)).toEqual(before);
    },
  );

  test('what a stable input gave is computed again', async () => {
    using session = await createSession(model(products), {
      engine,
      precision: 'f32',
      stableInputs: ['context'],
    });
    const inputs = feeds(1);
    const sum = async (): Promise<Float32Array> => {
      const { y } = await session.run(inputs);
      return (await y!.data()) as Float32Array;
    };
    const before = await sum();
    await session.updateWeights(new Map([['k', [update(info(session, 'k'), 2, 1, 50)]]]));
    expect(relativeL2(await sum(), before)).toBeGreaterThan(1e-2);
    await session.updateWeights(new Map());
    expect(await sum()).toEqual(before);
  });

  test('makes up in the next run for what failed', async () => {
    using session = await createSession(model(products), { engine, precision: 'f32' });
    const before = await output(session, 1);
    const good = update(info(session, 'a'), 2, 1, 50);
    let fails = true;
    const factors = async () => {
      if (fails) throw new Error('offline');
      return good.factors();
    };
    await expect(session.updateWeights(new Map([['a', [{ ...good, factors }]]]))).rejects.toThrow('offline');
    await expect(output(session, 1)).rejects.toThrow('offline');
    fails = false;
    const after = await output(session, 1);
    expect(relativeL2(after, before)).toBeGreaterThan(1e-2);
    await session.updateWeights(new Map([['a', [good]]]));
    expect(await output(session, 1)).toEqual(after);
  });

  test('refuses what is no weight, and factors of another size', async () => {
    using session = await createSession(model(products), { engine, precision: 'f32' });
    const own = update(info(session, 'a'), 2, 1, 50);
    await expect(session.updateWeights(new Map([['nothing', [own]]]))).rejects.toThrow(WeightUpdateError);
    await expect(session.updateWeights(new Map([['a', [{ ...own, rank: 3 }]]]))).resolves.toBeUndefined();
    await expect(output(session, 1)).rejects.toThrow('3 × 8 numbers');
    await session.updateWeights(new Map());
    await output(session, 1);
  });
});
