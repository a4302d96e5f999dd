import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { float32, model } from '../test/onnx-writer.ts';
import { createSession, Engine, Tensor } from './index.ts';

let engine: Engine;
beforeAll(async () => void (engine = await Engine.create({ precision: 'f32' })));
afterAll(() => engine.dispose());

/** `y = (x + w) · x` with a symbolic first dimension; `w` has three elements. */
function addAndMultiply(): Uint8Array<ArrayBuffer> {
  return model({
    inputs: [{ name: 'x', dtype: 'float32', shape: ['n', 3] }],
    outputs: [{ name: 'y', dtype: 'float32', shape: ['n', 3] }],
    initializers: { w: float32([3], [1, 2, 3]) },
    nodes: [
      { op: 'Add', inputs: ['x', 'w'], outputs: ['sum'] },
      { op: 'Mul', inputs: ['sum', 'x'], outputs: ['y'] },
    ],
  });
}

describe('session', () => {
  test('tells what the graph declares', async () => {
    using session = await createSession(addAndMultiply(), { engine });
    expect(session.inputs).toEqual([{ name: 'x', dtype: 'float32', shape: ['n', 3] }]);
    expect(session.outputs).toEqual([{ name: 'y', dtype: 'float32', shape: ['n', 3] }]);
  });

  test('runs at several shapes', async () => {
    using session = await createSession(addAndMultiply(), { engine });
    for (const rows of [1, 2, 5]) {
      const x = Float32Array.from({ length: rows * 3 }, (_, i) => i - 2);
      const { y } = await session.run({ x: new Tensor('float32', [rows, 3], x) });
      expect(y!.shape).toEqual([rows, 3]);
      expect(await y!.data()).toEqual(x.map((value, i) => (value + (i % 3) + 1) * value));
      y!.dispose();
    }
  });
});
