import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { model, type ModelSpec } from '../../test/onnx-writer.ts';
import { createSession, Engine, Tensor, UnsupportedOpError } from '../index.ts';

let engine: Engine;
beforeAll(async () => void (engine = await Engine.create({ precision: 'f32' })));
afterAll(() => engine.dispose());

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
const x = () => new Tensor('float32', [2, 2, 2], Float32Array.of(1, 2, 3, 4, 5, 0, 0, 6));

function expectClose(actual: ArrayLike<number | bigint>, expected: number[]): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, i) => expect(Number(actual[i])).toBeCloseTo(value, 5));
}

describe('islands', () => {
  test('an operator without kernel runs between ours', async () => {
    using session = await createSession(model(determinant), { engine });
    for (let run = 0; run < 2; run++) {
      const { y } = await session.run({ x: x() });
      expectClose(await y!.data(), [4 * -2 + 1, 4 * 30 + 1]);
      y!.dispose();
    }
    const report = session.report();
    expect(report.path).toBe('mixed');
    expect(report.islands).toMatchObject([
      { operators: [{ op: 'Det', node: 'd', reason: 'it is not defined' }], provider: 'webgpu', runs: 2 },
    ]);
  });

  test('is refused where the fallback is forbidden', async () => {
    using session = await createSession(model(determinant), { engine, fallback: 'forbid' });
    const failure = session.run({ x: x() });
    await expect(failure).rejects.toThrow(UnsupportedOpError);
    await expect(failure).rejects.toMatchObject({ ops: [{ op: 'Det', node: 'd' }] });
  });
});
