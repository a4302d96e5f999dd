import { describe, expect, test } from 'vitest';
import { CalotypeError, ShapeError, UnsupportedOpError } from '../errors.ts';
import { float32, int64, type ModelSpec } from '../../test/onnx-writer.ts';
import { node, specialized, templateOf } from '../../test/specialized.ts';
import { NeedsInputValue } from './force.ts';
import { printGraph } from './print.ts';
import { specialize } from './specialize.ts';

const image = { name: 'x', dtype: 'float32', shape: ['batch', 4, 'height', 'width'] } as const;

/** Flattens the pixels by the arithmetic that exporters write for `x.reshape(b, c, h * w)`. */
const flatten: ModelSpec = {
  inputs: [image],
  outputs: [{ name: 'y', dtype: 'float32' }],
  initializers: {
    zero: int64([], [0]),
    first: int64([1], [0]),
    minusOne: int64([1], [-1]),
    four: int64([1], [4]),
  },
  nodes: [
    node('Shape', 'x', 'shape'),
    node('Gather', 'shape zero', 'batch', { axis: { int: 0 } }),
    node('Unsqueeze', 'batch first', 'batch1'),
    node('Concat', 'batch1 four minusOne', 'target', { axis: { int: 0 } }),
    node('Reshape', 'x target', 'y'),
  ],
};

describe('shape arithmetic', () => {
  test('is gone', async () => {
    expect(printGraph(await specialized(flatten, { x: [2, 4, 3, 5] }))).toMatchInlineSnapshot(`
      "input x: float32[2,4,3,5]
      %0: float32[2,4,15] = Reshape(x, [2,4,-1])
      output y = %0"
    `);
  });

  test('Shape takes a part, with ends beyond the rank', async () => {
    const graph = await specialized(
      {
        ...flatten,
        opsets: { '': 17 },
        nodes: [
          node('Shape', 'x', 'shape', { start: { int: -2 }, end: { int: 99 } }),
          node('Size', 'x', 'size'),
          node('Cast', 'shape', 'a', { to: { int: 1 } }),
          node('Cast', 'size', 'b', { to: { int: 1 } }),
          node('Mul', 'a b', 'y'),
        ],
      },
      { x: [1, 4, 3, 5] },
    );
    expect(graph.nodes.map(({ op, inputs }) => [op, inputs[0]!.origin])).toEqual([
      ['Identity', { kind: 'constant', data: Float64Array.of(180, 300) }],
    ]);
  });
});

describe('declared shapes', () => {
  const type = (shape: number[], dtype: 'float32' | 'float16' = 'float32') => ({ dtype, shape });
  const two: ModelSpec = {
    inputs: [image, { name: 'z', dtype: 'float32', shape: ['batch', 7] }],
    outputs: [{ name: 'y', dtype: 'float32' }],
    nodes: [node('Neg', 'x', 'y'), node('Neg', 'z', 'unused')],
  };
  const cases: Record<string, [Record<string, ReturnType<typeof type>>, string]> = {
    'another fixed dimension': [
      { x: type([1, 3, 8, 8]), z: type([1, 7]) },
      "input 'x': expected float32[batch, 4, height, width], got float32[1, 3, 8, 8].",
    ],
    'another rank': [
      { x: type([4, 8, 8]), z: type([1, 7]) },
      'float32[batch, 4, height, width] (rank 4), got float32[4, 8, 8]',
    ],
    'another dtype': [{ x: type([1, 4, 8, 8], 'float16'), z: type([1, 7]) }, 'got float16[1, 4, 8, 8]'],
    'one name, two numbers': [
      { x: type([2, 4, 8, 8]), z: type([1, 7]) },
      "input 'z': expected float32[batch, 7], got float32[1, 7]. 'batch' is 2 in 'x'.",
    ],
    'a missing input': [
      { x: type([1, 4, 8, 8]) },
      "input 'z': expected float32[batch, 7], got nothing. The graph's inputs are 'x', 'z'.",
    ],
    'an unknown input': [
      { x: type([1, 4, 8, 8]), z: type([1, 7]), w: type([]) },
      "input 'w': expected one of the graph's inputs ('x', 'z'), got another name.",
    ],
    'a dimension that is no size': [
      { x: type([1.5, 4, 8, 8]), z: type([1, 7]) },
      'got float32[1.5, 4, 8, 8]',
    ],
  };
  test.each(Object.entries(cases))('%s', async (_, [types, message]) => {
    const failure = specialize(await templateOf(two), new Map(Object.entries(types)));
    await expect(failure).rejects.toThrow(ShapeError);
    await expect(failure).rejects.toThrow(message);
  });
});

describe('values that shapes depend on', () => {
  const resize: ModelSpec = {
    inputs: [
      { name: 'x', dtype: 'float32', shape: [4, 3] },
      { name: 'rows', dtype: 'int64', shape: [1] },
    ],
    outputs: [{ name: 'y', dtype: 'float32' }],
    initializers: { columns: int64([1], [-1]) },
    nodes: [node('Concat', 'rows columns', 'target', { axis: { int: 0 } }), node('Reshape', 'x target', 'y')],
  };

  test('of an input are asked for', async () => {
    const failure = specialized(resize);
    await expect(failure).rejects.toThrow(NeedsInputValue);
    await expect(failure).rejects.toMatchObject({ inputs: ['rows'] });
  });

  test('of an input are used once known', async () => {
    const rows = { dtype: 'int64', shape: [1], data: Float64Array.of(2) } as const;
    const graph = await specialized(resize, {}, new Map([['rows', rows]]));
    expect(graph.outputs[0]!.shape).toEqual([2, 6]);
    expect(graph.inputs.map(({ name, origin }) => [name, origin.kind])).toEqual([
      ['x', 'input'],
      ['rows', 'input'],
    ]);
  });

  test('of a weight in another type are read', async () => {
    const graph = await specialized({
      ...resize,
      inputs: [resize.inputs![0]!],
      initializers: { rows: float32([1], [6]), columns: int64([1], [-1]) },
      nodes: [
        node('Cast', 'rows', 'whole', { to: { int: 7 } }),
        ...resize.nodes!.map((n) => ({ ...n, inputs: n.inputs!.map((i) => (i === 'rows' ? 'whole' : i)) })),
      ],
    });
    expect(graph.outputs[0]!.shape).toEqual([6, 2]);
  });

  test('of data that is too large are refused', async () => {
    const failure = specialized({
      inputs: [{ name: 'x', dtype: 'float32', shape: [300, 300] }],
      outputs: [{ name: 'y', dtype: 'int64' }],
      nodes: [node('NonZero', 'x', 'y')],
    });
    await expect(failure).rejects.toThrow(UnsupportedOpError);
    await expect(failure).rejects.toThrow(/operand 0 depends on 'x', which is too large/);
  });

  test('are computed as float32 rounds', async () => {
    // In double precision the quotient is 1.9999999999999998, in float32 it is 2.
    const graph = await specialized({
      inputs: [{ name: 'x', dtype: 'float32', shape: [4] }],
      outputs: [{ name: 'y', dtype: 'float32' }],
      initializers: { two: float32([1], [2]), sixteen: float32([1], [16]), eight: float32([1], [8]) },
      nodes: [
        node('Log', 'two', 'a'),
        node('Log', 'sixteen', 'b'),
        node('Div', 'a b', 'c'),
        node('Mul', 'c eight', 'd'),
        node('Cast', 'd', 'n', { to: { int: 7 } }),
        node('Expand', 'x m', 'y'),
        node('Concat', 'n four', 'm', { axis: { int: 0 } }),
        node('Constant', '', 'four', { value_ints: { ints: [4] } }),
      ],
    });
    expect(graph.outputs[0]!.shape).toEqual([2, 4]);
  });
});

describe('If', () => {
  const branch = (op: string) => ({
    nodes: [node(op, 'x', 'inner')],
    outputs: [{ name: 'inner', dtype: 'float32' as const }],
  });
  const model: ModelSpec = {
    inputs: [{ name: 'x', dtype: 'float32', shape: ['n'] }],
    outputs: [{ name: 'y', dtype: 'float32' }],
    nodes: [
      node('Shape', 'x', 'shape'),
      node('Constant', '', 'three', { value_ints: { ints: [3] } }),
      node('Greater', 'shape three', 'long'),
      node('If', 'long', 'y', {
        then_branch: { graph: branch('Neg') },
        else_branch: { graph: branch('Abs') },
      }),
    ],
  };

  test.each([
    [4, 'Neg'],
    [3, 'Abs'],
  ])('takes the branch that holds for %i elements', async (size, op) => {
    const graph = await specialized(model, { x: [size] });
    expect(graph.nodes.map((n) => n.op)).toEqual([op]);
  });

  test('asks for the input that its condition is', async () => {
    const condition: ModelSpec = {
      ...model,
      inputs: [...model.inputs!, { name: 'c', dtype: 'bool', shape: [1] }],
    };
    const nodes = condition.nodes!.map((n) => (n.op === 'If' ? { ...n, inputs: ['c'] } : n));
    await expect(specialized({ ...condition, nodes }, { x: [3] })).rejects.toMatchObject({ inputs: ['c'] });
  });
});

test('outputs that are inputs, constants or equal become results of their own', async () => {
  const graph = await specialized({
    inputs: [{ name: 'x', dtype: 'float32', shape: [2] }],
    outputs: ['x', 'c', 'y', 'y2'].map((name) => ({ name, dtype: 'float32' })),
    initializers: { c: float32([1], [3]) },
    nodes: [node('Neg', 'x', 'y'), node('Identity', 'y', 'y2')],
  }).catch((error: unknown) => error);
  expect(graph).toMatchObject({ outputs: [{ name: 'x' }, { name: 'c' }, { name: 'y' }, { name: 'y2' }] });
});

test.each<[string, ModelSpec['nodes'], number[], RegExp]>([
  ['more outputs than there are', [node('Neg', 'x', 'y z')], [1], /at most 1 outputs, got 2/],
  [
    'an axis beyond counting',
    [node('Expand', 'x numbers', 'y')],
    [2 ** 40, 3],
    /at most 2\^31 elements along an axis/,
  ],
  [
    'more parts than elements',
    [node('Split', 'x', 'y z', { num_outputs: { int: 2 ** 40 } })],
    [1],
    /at most 3 parts/,
  ],
  [
    'a grid for other matrices',
    [node('AffineGrid', 'theta numbers', 'y')],
    [3, 1, 4, 4],
    /matrices \[3, 2, 3\]/,
  ],
  ['a grid beyond memory', [node('AffineGrid', 'theta numbers', 'y')], [2, 1, 2 ** 30, 4], /makes a grid/],
])('a file that asks for %s is refused', async (_, nodes, numbers, message) => {
  const refused = specialized({
    opsets: { '': 20 },
    inputs: [
      { name: 'x', dtype: 'float32', shape: [3] },
      { name: 'theta', dtype: 'float32', shape: [2, 2, 3] },
    ],
    outputs: [{ name: 'y', dtype: 'float32' }],
    initializers: { numbers: int64([numbers.length], numbers) },
    nodes: nodes!,
  });
  await expect(refused).rejects.toThrow(CalotypeError);
  await expect(refused).rejects.toThrow(message);
});
