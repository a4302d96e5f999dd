import { expect, test } from 'vitest';
import { model } from '../../test/onnx-writer.ts';
import { createSession, setOrtAssets, Tensor } from '../index.ts';

test('the build for browsers without promise integration runs islands as well', async () => {
  setOrtAssets({ build: 'asyncify' });
  const bytes = model({
    inputs: [{ name: 'x', dtype: 'float32', shape: ['n', 2, 2] }],
    outputs: [{ name: 'y', dtype: 'float32', shape: ['n'] }],
    nodes: [{ op: 'Det', inputs: ['x'], outputs: ['y'] }],
  });
  using one = await createSession(bytes, { precision: 'f32' });
  using two = await createSession(bytes, { precision: 'f32' });
  const x = new Tensor('float32', [1, 2, 2], Float32Array.of(2, 0, 0, 3));
  // Overlapping calls hang this build; sessions keep them apart.
  const results = await Promise.all([one.run({ x }), two.run({ x }), one.run({ x }), two.run({ x })]);
  for (const { y } of results) expect(await y!.data()).toEqual(Float32Array.of(6));
  expect(one.report().path).toBe('mixed');
});
