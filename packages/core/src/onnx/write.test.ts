import { expect, test } from 'vitest';
import { float32, int64, model, type ModelSpec } from '../../test/onnx-writer.ts';
import { mapStore } from '../source/map-store.ts';
import type { Model } from './model.ts';
import { readModel, readTensor } from './reader.ts';
import { writeModel } from './write.ts';

const read = (bytes: Uint8Array<ArrayBuffer>, files: Record<string, Uint8Array<ArrayBuffer>> = {}) =>
  readModel(mapStore({ 'model.onnx': bytes, ...files }), 'model.onnx');

const branch = (value: number) => ({
  nodes: [{ op: 'Constant', outputs: ['c'], attributes: { value: { tensor: float32([1], [value]) } } }],
  outputs: [{ name: 'c', dtype: 'float32' as const, shape: [1] }],
});

const spec: ModelSpec = {
  producer: 'somebody',
  opsets: { '': 17, 'com.microsoft': 1 },
  inputs: [
    { name: 'x', dtype: 'float32', shape: ['n', undefined, 3] },
    { name: 'flag', dtype: 'bool', shape: [] },
  ],
  outputs: [{ name: 'y', dtype: 'float32' }],
  initializers: {
    w: float32([3], [1, -2, 3.5]),
    axes: int64([2], [-1, 2 ** 40]),
    names: { dtype: 'string', dims: [2], strings: ['a', 'ß'] },
    half: { dtype: 'float16', dims: [2], raw: Uint8Array.of(0, 60, 0, 192) },
  },
  nodes: [
    {
      op: 'Strange',
      name: 'node',
      domain: 'com.microsoft',
      inputs: ['x', '', 'w'],
      outputs: ['', 'a'],
      attributes: {
        f: { float: 0.5 },
        i: { int: -7 },
        s: { string: 'text' },
        floats: { floats: [1, 2.5] },
        ints: { ints: [3, -4] },
        strings: { strings: ['p', 'q'] },
        tensors: { tensors: [float32([], [9])] },
      },
    },
    {
      op: 'If',
      inputs: ['flag'],
      outputs: ['b'],
      attributes: { then_branch: { graph: branch(1) }, else_branch: { graph: branch(2) } },
    },
    { op: 'Twice', domain: 'own', inputs: ['a'], outputs: ['y'], attributes: { k: { int: 2 } } },
  ],
  functions: [
    {
      name: 'Twice',
      domain: 'own',
      inputs: ['in'],
      outputs: ['out'],
      attributes: ['k'],
      attributeDefaults: { d: { float: 1 } },
      nodes: [{ op: 'Scale', inputs: ['in'], outputs: ['out'], attributes: { by: { ref: 'k' } } }],
    },
  ],
};

test('what was read and written reads the same', async () => {
  // The files are sources: those of two readings are not equal.
  const { files: _, ...first } = await read(model(spec));
  const { bytes, external } = writeModel({ ...first, files: [] });
  expect(external.size).toBe(0);
  const { files: __, ...second } = await read(bytes);
  expect(second).toEqual(first);
});

test('constants that lie in files become external data', async () => {
  const large = new Float32Array(5000).map((_, i) => i);
  const first: Model = await read(
    model({
      ...spec,
      initializers: {
        ...spec.initializers,
        large: { dtype: 'float32', dims: [50, 100], raw: new Uint8Array(large.buffer) },
      },
    }),
  );
  const { bytes, external } = writeModel(first);
  expect([...external].map(([location, { name }]) => [location, name])).toEqual([['tensor0', 'large']]);
  expect(bytes.length).toBeLessThan(4000);
  const files = { tensor0: await readTensor(external.get('tensor0')!) };
  const second = await read(bytes, files);
  expect(await readTensor(second.graph.initializers.get('large')!)).toEqual(new Uint8Array(large.buffer));
});

test('attributes of unknown kinds are refused', async () => {
  const first = await read(model(spec));
  first.graph.nodes[0]!.attributes.set('odd', { type: 'unsupported', kind: 'sparse_tensor' });
  expect(() => writeModel(first)).toThrow("'odd' is a sparse_tensor");
});
