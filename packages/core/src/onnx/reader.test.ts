import { describe, expect, test } from 'vitest';
import { float32, int64, model, type NodeSpec, type TensorSpec } from '../../test/onnx-writer.ts';
import { InvalidModelError } from '../errors.ts';
import { bytesSource } from '../source/bytes-source.ts';
import { mapStore } from '../source/map-store.ts';
import type { ByteSource, FileStore } from '../source/source.ts';
import { toNumbers } from './elements.ts';
import type { Model } from './model.ts';
import { readModel, readTensor } from './reader.ts';

const path = 'unet/model.onnx';

function read(
  bytes: Uint8Array<ArrayBuffer>,
  others: Record<string, Uint8Array<ArrayBuffer>> = {},
): Promise<Model> {
  return readModel(mapStore({ [path]: bytes, ...others }), path);
}

async function firstInitializer(spec: TensorSpec): Promise<number[]> {
  const { graph } = await read(model({ initializers: { w: spec } }));
  const ref = graph.initializers.get('w')!;
  const count = ref.dims.reduce((product, dim) => product * dim, 1);
  return [...toNumbers(ref.dtype, await readTensor(ref), count)];
}

test('structure, values and symbolic dimensions', async () => {
  const result = await read(
    model({
      producer: 'pytorch',
      opsets: { 'ai.onnx': 20, 'com.microsoft': 1 },
      nodes: [{ op: 'Add', name: 'sum', inputs: ['x', '', 'w'], outputs: ['y'], domain: 'ai.onnx' }],
      inputs: [{ name: 'x', dtype: 'float16', shape: ['batch', 4, undefined, -1] }],
      outputs: [{ name: 'y', dtype: 'float16' }, { name: 'z' }],
      values: [{ name: 'inner', dtype: 'int64', shape: [] }],
      initializers: { w: float32([2], [1, 2]) },
    }),
  );
  expect(result).toMatchObject({ irVersion: 8, producer: 'pytorch', functions: [] });
  expect([...result.opsets]).toEqual([
    ['', 20],
    ['com.microsoft', 1],
  ]);
  const { graph } = result;
  expect(graph.nodes).toEqual([
    {
      op: 'Add',
      name: 'sum',
      domain: '',
      overload: '',
      inputs: ['x', '', 'w'],
      outputs: ['y'],
      attributes: new Map(),
    },
  ]);
  expect(graph.inputs).toEqual([{ name: 'x', dtype: 'float16', shape: ['batch', 4, undefined, undefined] }]);
  expect(graph.outputs).toEqual([
    { name: 'y', dtype: 'float16', shape: undefined },
    { name: 'z', dtype: undefined, shape: undefined },
  ]);
  expect(graph.values.get('inner')?.shape).toEqual([]);
});

test('attributes of every kind', async () => {
  const node: NodeSpec = {
    op: 'Everything',
    attributes: {
      float: { float: 0.5 },
      int: { int: -3 },
      string: { string: 'größe' },
      tensor: { tensor: int64([2], [4, -5]) },
      graph: { graph: { name: 'then', nodes: [{ op: 'Neg', inputs: ['outer'], outputs: ['n'] }] } },
      floats: { floats: [1, 2.5] },
      ints: { ints: [1, -1, 2n ** 63n - 1n, -(2n ** 63n)] },
      strings: { strings: ['a', ''] },
      tensors: { tensors: [int64([], [7])] },
      graphs: { graphs: [{ name: 'g' }] },
      ref: { ref: 'alpha' },
    },
  };
  const { attributes } = (await read(model({ nodes: [node] }))).graph.nodes[0]!;
  expect(attributes.get('float')).toEqual({ type: 'float', value: 0.5 });
  expect(attributes.get('int')).toEqual({ type: 'int', value: -3 });
  expect(attributes.get('string')).toEqual({ type: 'string', value: 'größe' });
  expect(attributes.get('floats')).toEqual({ type: 'floats', value: [1, 2.5] });
  expect(attributes.get('ints')).toEqual({
    type: 'ints',
    value: [1, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER],
  });
  expect(attributes.get('strings')).toEqual({ type: 'strings', value: ['a', ''] });
  expect(attributes.get('ref')).toEqual({ type: 'reference', name: 'alpha' });
  expect(attributes.get('tensor')).toMatchObject({ type: 'tensor', value: { dtype: 'int64', dims: [2] } });
  expect(attributes.get('graph')).toMatchObject({ type: 'graph', value: { nodes: [{ op: 'Neg' }] } });
  expect(attributes.get('tensors')).toMatchObject({ type: 'tensors', value: [{ dims: [] }] });
  expect(attributes.get('graphs')).toMatchObject({ type: 'graphs', value: [{ name: 'g' }] });
});

test('functions', async () => {
  const { functions } = await read(
    model({
      functions: [
        {
          name: 'Silu',
          domain: 'pkg',
          overload: 'f16',
          inputs: ['x'],
          outputs: ['y'],
          attributes: ['beta'],
          attributeDefaults: { alpha: { float: 1 } },
          opsets: { '': 18 },
          nodes: [{ op: 'Sigmoid', inputs: ['x'], outputs: ['y'], attributes: { a: { ref: 'beta' } } }],
        },
      ],
    }),
  );
  expect(functions).toMatchObject([
    { name: 'Silu', domain: 'pkg', overload: 'f16', inputs: ['x'], outputs: ['y'], attributes: ['beta'] },
  ]);
  expect(functions[0]?.attributeDefaults.get('alpha')).toEqual({ type: 'float', value: 1 });
  expect(functions[0]?.opsets.get('')).toBe(18);
  expect(functions[0]?.nodes[0]?.attributes.get('a')).toEqual({ type: 'reference', name: 'beta' });
});

describe('typed data fields come out in the raw layout', () => {
  test.each<[string, TensorSpec, number[]]>([
    ['floats', { dtype: 'float32', dims: [2], floats: [1, -2.5] }, [1, -2.5]],
    ['doubles', { dtype: 'float64', dims: [1, 2], doubles: [0.1, 1e300] }, [0.1, 1e300]],
    ['int32', { dtype: 'int32', dims: [2], int32s: [-1, 7] }, [-1, 7]],
    ['int8', { dtype: 'int8', dims: [2], int32s: [-128, 127] }, [-128, 127]],
    ['uint16', { dtype: 'uint16', dims: [1], int32s: [65535] }, [65535]],
    ['bool', { dtype: 'bool', dims: [3], int32s: [0, 1, 1] }, [0, 1, 1]],
    ['float16', { dtype: 'float16', dims: [2], int32s: [0x3c00, 0xc000] }, [1, -2]],
    ['bfloat16', { dtype: 'bfloat16', dims: [1], int32s: [0x3fc0] }, [1.5]],
    ['int4', { dtype: 'int4', dims: [3], int32s: [0x7f, 0x08] }, [-1, 7, -8]],
    ['int64', { dtype: 'int64', dims: [2], int64s: [-(2 ** 40), 3] }, [-(2 ** 40), 3]],
    ['uint64', { dtype: 'uint64', dims: [1], uint64s: [2n ** 63n] }, [2 ** 63]],
    ['uint32', { dtype: 'uint32', dims: [1], uint64s: [2 ** 32 - 1] }, [2 ** 32 - 1]],
    ['no elements', { dtype: 'float32', dims: [0, 5] }, []],
    ['a scalar', { dtype: 'float32', dims: [], floats: [4] }, [4]],
  ])('%s', async (_, spec, numbers) => {
    expect(await firstInitializer(spec)).toEqual(numbers);
  });

  test('large packed floats stay in the file', async () => {
    const values = Array.from({ length: 2000 }, (_, i) => i / 4);
    expect(await firstInitializer({ dtype: 'float32', dims: [2000], floats: values })).toEqual(values);
  });

  test('strings', async () => {
    const { graph } = await read(
      model({ initializers: { s: { dtype: 'string', dims: [2], strings: ['a', 'ß'] } } }),
    );
    expect(graph.initializers.get('s')?.data).toEqual({ kind: 'strings', values: ['a', 'ß'] });
    await expect(readTensor(graph.initializers.get('s')!)).rejects.toThrow(InvalidModelError);
  });
});

/** Counts what is read. */
function watched(name: string, bytes: Uint8Array<ArrayBuffer>): { store: FileStore; reads: number[] } {
  const reads: number[] = [];
  const inner = bytesSource(name, bytes);
  const source: ByteSource = {
    ...inner,
    async read(offset, length, signal) {
      reads.push(length);
      return inner.read(offset, length, signal);
    },
  };
  return { store: { open: async () => source, has: async () => true }, reads };
}

test('weights are not fetched, wherever they are', async () => {
  const megabyte = 2 ** 20;
  const big = (fill: number): TensorSpec => ({
    dtype: 'uint8',
    dims: [8 * megabyte],
    raw: new Uint8Array(8 * megabyte).fill(fill),
  });
  const bytes = model({
    nodes: [
      { op: 'Constant', outputs: ['c'], attributes: { value: { tensor: big(1) } } },
      { op: 'If', attributes: { then_branch: { graph: { initializers: { t: big(2) } } } } },
    ],
    initializers: { a: big(3), small: float32([1], [9]), b: big(4) },
    functions: [
      { name: 'f', domain: 'd', nodes: [{ op: 'Constant', attributes: { value: { tensor: big(5) } } }] },
    ],
  });
  const { store, reads } = watched(path, bytes);
  const { graph, functions } = await readModel(store, path);
  expect(reads.reduce((total, length) => total + length, 0)).toBeLessThan(2 * megabyte);
  const constant = graph.nodes[0]!.attributes.get('value');
  const branch = graph.nodes[1]!.attributes.get('then_branch');
  const inFunction = functions[0]!.nodes[0]!.attributes.get('value');
  if (constant?.type !== 'tensor' || branch?.type !== 'graph' || inFunction?.type !== 'tensor')
    throw new Error();
  const refs = [constant.value, branch.value.initializers.get('t'), graph.initializers.get('a')];
  refs.push(graph.initializers.get('b'), inFunction.value);
  for (const [i, ref] of refs.entries()) {
    expect(ref!.data.kind).toBe('range');
    const data = await readTensor(ref!);
    expect([data.length, data[0], data.at(-1)]).toEqual([8 * megabyte, i + 1, i + 1]);
  }
  expect(graph.initializers.get('small')?.data.kind).toBe('inline');
});

test('structure larger than the window', async () => {
  const nodes = Array.from({ length: 30_000 }, (_, i) => ({
    op: 'Identity',
    name: `/a/rather/long/name/of/node/number/${i}`,
    inputs: [`v${i}`],
    outputs: [`v${i + 1}`],
  }));
  const { graph } = await read(model({ nodes, initializers: { w: float32([1], [1]) } }));
  expect(graph.nodes.length).toBe(30_000);
  expect(graph.nodes.at(-1)?.outputs).toEqual(['v30000']);
});

test('an abort goes through', async () => {
  const store = mapStore({ [path]: model({}) });
  await expect(readModel(store, path, { signal: AbortSignal.abort() })).rejects.toThrow('abort');
});
