import { describe, expect, test } from 'vitest';
import { float32, int64, type ModelSpec, type NodeSpec, type TensorSpec } from '../../../test/onnx-writer.ts';
import { node, optimised, randomWeight, runPasses, specialized } from '../../../test/specialized.ts';
import type { Graph } from '../graph.ts';
import { printGraph } from '../print.ts';
import { canonicalize } from './canonicalize.ts';
import { commonSubexpressions } from './common-subexpressions.ts';
import { dropDead } from './drop-dead.ts';

// Every `optimised` also checks that the graph computes the same as before.

const output = { name: 'y', dtype: 'float32' } as const;
const input = (name: string, ...shape: number[]) => ({ name, dtype: 'float32', shape }) as const;

function model(
  inputs: ModelSpec['inputs'],
  nodes: readonly NodeSpec[],
  initializers: Readonly<Record<string, TensorSpec>> = {},
  opset = 17,
): ModelSpec {
  return { inputs: inputs ?? [], outputs: [output], nodes, initializers, opsets: { '': opset } };
}

const ops = (graph: Graph): string[] => graph.nodes.map(({ op, epilogue }) => (epilogue ? `${op}+` : op));

describe('dead code', () => {
  test('goes, with all that only it needed', async () => {
    const graph = await specialized(
      model([input('x', 4)], [node('Neg', 'x', 'a'), node('Exp', 'a', 'b'), node('Abs', 'x', 'y')]),
    );
    expect(ops(runPasses(graph, dropDead))).toEqual(['Abs']);
  });
});

describe('what does nothing', () => {
  const cases: Record<string, [NodeSpec[], Record<string, TensorSpec>?]> = {
    Identity: [[node('Identity', 'x', 'a')]],
    'casts between floats': [
      [node('Cast', 'x', 'h', { to: { int: 10 } }), node('Cast', 'h', 'a', { to: { int: 1 } })],
    ],
    'a product with 1': [[node('Mul', 'one x', 'a')], { one: float32([1], [1]) }],
    'a sum with 0': [[node('Add', 'x zero', 'a')], { zero: float32([], [0]) }],
    'division by 1': [[node('Div', 'x one', 'a')], { one: float32([], [1]) }],
    'a slice of everything': [
      [node('Slice', 'x start end axis', 'a')],
      { start: int64([1], [0]), end: int64([1], [2 ** 40]), axis: int64([1], [1]) },
    ],
    'transposed there and back': [
      [
        node('Transpose', 'x', 't', { perm: { ints: [2, 0, 1] } }),
        node('Transpose', 't', 'a', { perm: { ints: [1, 2, 0] } }),
      ],
    ],
    'reshaped there and back': [
      [node('Reshape', 'x flat', 'r'), node('Unsqueeze', 'r axis', 'u'), node('Reshape', 'u back', 'a')],
      { flat: int64([1], [-1]), axis: int64([1], [0]), back: int64([3], [2, 3, -1]) },
    ],
    'zero padding': [[node('Pad', 'x pads', 'a')], { pads: int64([6], [0, 0, 0, 0, 0, 0]) }],
    'expansion to its own shape': [[node('Expand', 'x one', 'a')], { one: int64([1], [1]) }],
    'a concat of one': [[node('Concat', 'x', 'a', { axis: { int: 0 } })]],
    'a slice that takes back what a concat joined': [
      [
        node('Exp', 'x', 'e'),
        node('Concat', 'e x', 'c', { axis: { int: 2 } }),
        node('Slice', 'c start end axis', 'a'),
      ],
      { start: int64([1], [4]), end: int64([1], [8]), axis: int64([1], [-1]) },
    ],
  };
  test.each(Object.entries(cases))('%s', async (_, [nodes, weights]) => {
    const graph = await specialized(model([input('x', 2, 3, 4)], [...nodes, node('Neg', 'a', 'y')], weights));
    expect(ops(runPasses(graph, canonicalize, dropDead))).toEqual(['Neg']);
    expect(graph.nodes[0]!.inputs[0]).toBe(graph.inputs[0]);
  });

  const kept: Record<string, [NodeSpec[], Record<string, TensorSpec>?]> = {
    'a product with 1 that broadcasts': [[node('Mul', 'x one', 'a')], { one: float32([1, 1, 1, 1], [1]) }],
    'a reversing slice': [
      [node('Slice', 'x start end axis step', 'a')],
      { start: int64([1], [-1]), end: int64([1], [-99]), axis: int64([1], [2]), step: int64([1], [-1]) },
    ],
    'a cast to integers': [
      [node('Cast', 'x', 'i', { to: { int: 6 } }), node('Cast', 'i', 'a', { to: { int: 1 } })],
    ],
  };
  test.each(Object.entries(kept))('is not %s', async (_, [nodes, weights]) => {
    const graph = await specialized(model([input('x', 2, 3, 4)], [...nodes, node('Neg', 'a', 'y')], weights));
    expect(ops(runPasses(graph, canonicalize, dropDead)).length).toBeGreaterThan(1);
  });

  test('an output keeps its name and its dtype', async () => {
    const spec = model(
      [input('x', 4)],
      [node('Neg', 'x', 'n'), node('Cast', 'n', 'h', { to: { int: 10 } }), node('Identity', 'n', 'y')],
    );
    const graph = runPasses(
      await specialized({ ...spec, outputs: [output, { name: 'h', dtype: 'float16' }] }),
      canonicalize,
    );
    expect(graph.outputs.map(({ name, dtype }) => [name, dtype])).toEqual([
      ['y', 'float32'],
      ['h', 'float16'],
    ]);
    expect(ops(graph)).toEqual(['Neg', 'Cast']);
  });

  test('an axis merged, moved and split again is a Transpose', async () => {
    const graph = await specialized(
      model(
        [input('x', 2, 4, 5, 6)],
        [
          node('Reshape', 'x merged', 'a'),
          node('Transpose', 'a', 'b', { perm: { ints: [0, 2, 1] } }),
          node('Reshape', 'b split', 'y'),
        ],
        { merged: int64([3], [-1, 5, 6]), split: int64([4], [2, 4, 6, 5]) },
      ),
    );
    expect(printGraph(runPasses(graph, canonicalize))).toMatchInlineSnapshot(`
      "input x: float32[2,4,5,6]
      %0: float32[2,4,6,5] = Transpose(x) {perm=[0,1,3,2]}
      output y = %0"
    `);
  });
});

test('what is written twice is computed once', async () => {
  const graph = await specialized(
    model(
      [input('x', 4)],
      [
        node('Mul', 'x p', 'a'),
        node('Mul', 'x q', 'b'),
        node('Exp', 'a', 'c'),
        node('Exp', 'b', 'd'),
        node('Add', 'c d', 'y'),
      ],
      { p: float32([], [2]), q: float32([], [2]) },
    ),
  );
  expect(ops(runPasses(graph, commonSubexpressions))).toEqual(['Mul', 'Exp', 'Add']);
});

describe('GroupNorm', () => {
  const groupNorm = (shape: number[], affine: number[], flat = shape): ModelSpec =>
    model(
      [input('x', ...shape)],
      [
        node('Reshape', 'x grouped', 'a'),
        node('InstanceNormalization', 'a ones zeros', 'b', { epsilon: { float: 1e-6 } }),
        node('Reshape', 'b back', 'c'),
        node('Mul', 'c scale', 'd'),
        node('Add', 'd bias', 'e'),
        node('Sigmoid', 'e', 'f'),
        node('Mul', 'e f', 'y'),
      ],
      {
        grouped: int64([3], [0, 4, -1]),
        back: int64([flat.length], flat),
        ones: float32([4], [1, 1, 1, 1]),
        zeros: float32([4], [0, 0, 0, 0]),
        scale: randomWeight(affine, 1),
        bias: randomWeight(affine, 2),
      },
    );

  test.each([
    ['of pixels', [2, 8, 3, 5], [8, 1, 1]],
    ['of a sequence', [2, 8, 6], [8, 1]],
    ['with a batch axis in its scale', [2, 8, 3, 5], [1, 8, 1, 1]],
  ])('%s takes the SiLU after it', async (_, shape, affine) => {
    const graph = await optimised(groupNorm(shape, affine));
    expect(ops(graph).filter((op) => op !== 'Reshape')).toEqual(['GroupNorm+']);
    expect(printGraph(graph)).toContain('{groups=4 epsilon=9.999999974752427e-7} → silu(x0)');
  });

  test('whose pixels are flattened on the way', async () => {
    const graph = await optimised(groupNorm([2, 8, 3, 5], [8, 1], [2, 8, 15]));
    expect(ops(graph).filter((op) => op !== 'Reshape')).toEqual(['GroupNorm+']);
  });

  test('is not what scales within a channel', async () => {
    const graph = await optimised(groupNorm([2, 8, 3, 5], [8, 1, 5]));
    expect(printGraph(graph)).toContain('groups=4');
    expect(ops(graph).filter((op) => op !== 'Reshape')).toEqual(['GroupNorm+']);
    expect(graph.nodes.find(({ op }) => op === 'GroupNorm')!.inputs).toHaveLength(1);
  });
});

describe('norms of rows', () => {
  const weights = {
    scale: randomWeight([6], 1),
    bias: randomWeight([6], 2),
    eps: float32([], [1e-5]),
    two: float32([], [2]),
    one: float32([], [1]),
    half: float32([], [-0.5]),
  };
  const mean = (from: string, to: string): NodeSpec => node('ReduceMean', from, to, { axes: { ints: [-1] } });
  const variance = [
    mean('x', 'm'),
    node('Sub', 'x m', 'd'),
    node('Pow', 'd two', 's'),
    mean('s', 'v'),
    node('Add', 'v eps', 'e'),
  ];

  test('LayerNormalization from its formula', async () => {
    const nodes = [
      ...variance,
      node('Sqrt', 'e', 'r'),
      node('Div', 'd r', 'n'),
      node('Mul', 'n scale', 'z'),
      node('Add', 'z bias', 'y'),
    ];
    const graph = await optimised(model([input('x', 2, 3, 6)], nodes, weights));
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "input x: float32[2,3,6]
      %0: float32[2,3,6] = LayerNormalization(x, w:scale, w:bias) {axis=-1 epsilon=0.000009999999747378752}
      output y = %0"
    `);
  });

  test.each([
    ['Reciprocal', [node('Sqrt', 'e', 'r'), node('Reciprocal', 'r', 'i'), node('Mul', 'x i', 'n')]],
    ['1 / root', [node('Sqrt', 'e', 'r'), node('Div', 'one r', 'i'), node('Mul', 'x i', 'n')]],
    ['division', [node('Sqrt', 'e', 'r'), node('Div', 'x r', 'n')]],
    ['a power', [node('Pow', 'e half', 'i'), node('Mul', 'i x', 'n')]],
  ])('RMSNormalization by %s', async (_, divide) => {
    const nodes = [
      node('Mul', 'x x', 's'),
      mean('s', 'v'),
      node('Add', 'v eps', 'e'),
      ...divide,
      node('Mul', 'scale n', 'y'),
    ];
    const graph = await optimised(model([input('x', 2, 3, 6)], nodes, weights));
    expect(ops(graph)).toEqual(['RMSNormalization']);
  });

  test('without scale', async () => {
    const graph = await optimised(
      model([input('x', 2, 3, 6)], [...variance, node('Sqrt', 'e', 'r'), node('Div', 'd r', 'y')], weights),
    );
    expect(ops(graph)).toEqual(['LayerNormalization']);
  });
});
