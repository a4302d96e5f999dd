import { describe, expect, test } from 'vitest';
import { float32, int64, type ModelSpec, type NodeSpec, type TensorSpec } from '../../../test/onnx-writer.ts';
import { node, optimised, runPasses, specialized } from '../../../test/specialized.ts';
import type { Graph, Node } from '../graph.ts';
import { passes } from './index.ts';

// Every `optimised` also checks that the graph computes the same as before.

const [B, H, S, T, D] = [2, 3, 5, 7, 4];
const input = (name: string, ...shape: number[]) => ({ name, dtype: 'float32', shape }) as const;
const q4 = input('q', B, H, S, D);
const k4 = input('k', B, H, T, D);
const kT4 = input('kT', B, H, D, T);
const v4 = input('v', B, H, T, D);
const ints = (...values: number[]): TensorSpec => int64([values.length], values);
const scalar = (value: number): TensorSpec => float32([], [value]);
const perm = (...axes: number[]): NodeSpec['attributes'] => ({ perm: { ints: axes } });

function model(
  inputs: ModelSpec['inputs'],
  nodes: readonly NodeSpec[],
  initializers: Readonly<Record<string, TensorSpec>> = {},
): ModelSpec {
  const outputs = [{ name: 'y', dtype: 'float32' }] as const;
  return { inputs: inputs ?? [], outputs, nodes, initializers, opsets: { '': 17 } };
}

function attentionIn(graph: Graph): Node {
  const found = graph.nodes.filter(({ op }) => op === 'Attention');
  expect(found).toHaveLength(1);
  expect(graph.nodes.map(({ op }) => op)).not.toContain('MatMul');
  expect(graph.nodes.map(({ op }) => op)).not.toContain('Softmax');
  return found[0]!;
}

const attribute = (found: Node, name: string): number =>
  (found.attributes.get(name) as { value: number }).value;
const softmax = node('Softmax', 's', 'p', { axis: { int: -1 } });
const sum = node('MatMul', 'p v', 'y');

describe('scale', () => {
  const cases: Record<string, [NodeSpec[], number]> = {
    none: [[node('MatMul', 'q kT', 's')], 1],
    'on the scores': [[node('MatMul', 'q kT', 'a'), node('Mul', 'a half', 's')], 0.5],
    'by division': [[node('MatMul', 'q kT', 'a'), node('Div', 'a two', 's')], 0.5],
    'on q': [[node('Mul', 'half q', 'a'), node('MatMul', 'a kT', 's')], 0.5],
    'split over q and k': [
      [node('Mul', 'q half', 'a'), node('Div', 'kT two', 'b'), node('MatMul', 'a b', 's')],
      0.25,
    ],
    'on all three': [
      [
        node('Mul', 'q half', 'a'),
        node('Mul', 'kT half', 'b'),
        node('MatMul', 'a b', 'c'),
        node('Mul', 'c two', 's'),
      ],
      0.5,
    ],
  };
  test.each(Object.entries(cases))('%s', async (_, [scores, scale]) => {
    const weights = { half: scalar(0.5), two: scalar(2) };
    const graph = await optimised(model([q4, kT4, v4], [...scores, softmax, sum], weights));
    expect(attribute(attentionIn(graph), 'scale')).toBeCloseTo(scale);
  });
});

describe('mask', () => {
  const scores = [node('MatMul', 'q kT', 'a')];
  test.each([
    ['for all', [S, T]],
    ['by batch', [B, 1, 1, T]],
    ['by head', [1, H, S, T]],
    ['in full', [B, H, S, T]],
  ])('added, %s', async (_, shape) => {
    const graph = await optimised(
      model([q4, kT4, v4, input('m', ...shape)], [...scores, node('Add', 'm a', 's'), softmax, sum]),
    );
    expect(attentionIn(graph).inputs[3]!.name).toBe('m');
  });

  test('two are added up', async () => {
    const inputs = [q4, kT4, v4, input('m', S, T), input('n', B, 1, 1, T)];
    const graph = await optimised(
      model(inputs, [...scores, node('Add', 'm a', 'b'), node('Add', 'b n', 's'), softmax, sum]),
    );
    expect(attentionIn(graph).inputs[3]!.shape).toEqual([B, 1, S, T]);
  });

  test.each([
    ['keep, -infinity', 'm a fill', -Infinity, 'm'],
    ['hide, -infinity', 'm fill a', -Infinity, undefined],
    ['keep, a large number', 'm a fill', -1e9, undefined],
  ])('chosen by Where: %s', async (_, operands, fill, direct) => {
    const inputs = [q4, kT4, v4, { name: 'm', dtype: 'bool', shape: [B, 1, S, T] } as const];
    const guard = [node('IsNaN', 'p', 'n'), node('Where', 'n zero p', 'g'), node('MatMul', 'g v', 'y')];
    const graph = await optimised(
      model(inputs, [...scores, node('Where', operands, 's'), softmax, ...guard], {
        fill: scalar(fill),
        zero: scalar(0),
      }),
    );
    const mask = attentionIn(graph).inputs[3]!;
    if (direct) expect(mask.name).toBe(direct);
    expect(mask.dtype).toBe(fill === -Infinity ? 'bool' : 'float32');
  });

  test('of a constant triangle is causal', async () => {
    const triangle = Array.from({ length: T * T }, (_, i) => (i % T > Math.floor(i / T) ? -Infinity : 0));
    const inputs = [input('q', B, H, T, D), kT4, v4];
    const graph = await optimised(
      model(inputs, [...scores, node('Add', 'a mask', 's'), softmax, sum], {
        mask: float32([1, 1, T, T], triangle),
      }),
    );
    const found = attentionIn(graph);
    expect(attribute(found, 'causal')).toBe(1);
    expect(found.inputs).toHaveLength(3);
  });

  test('added before the scale is left alone', async () => {
    const graph = await optimised(
      model(
        [q4, kT4, v4, input('m', S, T)],
        [...scores, node('Add', 'm a', 'b'), node('Mul', 'b two', 's'), softmax, sum],
        { two: scalar(2) },
      ),
    );
    expect(graph.nodes.map(({ op }) => op)).not.toContain('Attention');
  });
});

describe('heads', () => {
  test('keys transposed in three ways', async () => {
    for (const nodes of [
      [node('Transpose', 'k', 't', perm(0, 1, 3, 2))],
      // What the newer exporter writes.
      [
        node('Reshape', 'k flat', 'f'),
        node('Transpose', 'f', 'g', perm(0, 2, 1)),
        node('Reshape', 'g tall', 't'),
      ],
    ]) {
      const weights = { flat: ints(-1, T, D), tall: ints(B, H, D, T) };
      const graph = await optimised(
        model([q4, k4, v4], [...nodes, node('MatMul', 'q t', 's'), softmax, sum], weights),
      );
      expect(attentionIn(graph).inputs.map((value) => value!.name)).toEqual(['q', 'k', 'v']);
    }
  });

  test('projections split into heads and joined again', async () => {
    const split = (name: string, axes: number[]): NodeSpec[] => [
      node('Reshape', `${name} heads`, `${name}h`),
      node('Transpose', `${name}h`, `${name}t`, perm(...axes)),
    ];
    const graph = await optimised(
      model(
        [input('q', B, S, H * D), input('k', B, T, H * D), input('v', B, T, H * D)],
        [
          ...split('q', [0, 2, 1, 3]),
          ...split('k', [0, 2, 3, 1]),
          ...split('v', [0, 2, 1, 3]),
          node('MatMul', 'qt kt', 's'),
          softmax,
          node('MatMul', 'p vt', 'o'),
          node('Transpose', 'o', 'r', perm(0, 2, 1, 3)),
          node('Reshape', 'r joined', 'y'),
        ],
        { heads: ints(0, 0, H, D), joined: ints(0, 0, H * D) },
      ),
    );
    expect(attentionIn(graph).inputs.map((value) => value!.shape)).toEqual([[B, H, S, D], [B, H, T, D], [B, H, T, D]]); // prettier-ignore
    expect(new Set(graph.nodes.map(({ op }) => op))).toEqual(new Set(['Reshape', 'Transpose', 'Attention']));
  });

  test('in the batch axis, told apart by what they were', async () => {
    const flatten = (name: string): NodeSpec => node('Reshape', `${name} f${name}`, `${name}3`);
    const graph = await optimised(
      model(
        [q4, kT4, v4],
        [
          flatten('q'),
          flatten('kT'),
          flatten('v'),
          node('MatMul', 'q3 kT3', 's'),
          softmax,
          node('MatMul', 'p v3', 'o'),
          node('Reshape', 'o back', 'y'),
        ],
        {
          fq: ints(-1, S, D),
          fkT: ints(-1, D, T),
          fv: ints(-1, T, D),
          back: ints(B, H, S, D),
        },
      ),
    );
    expect(attentionIn(graph).inputs[0]!.name).toBe('q');
    expect(graph.nodes.map(({ op }) => op)).toEqual(['Transpose', 'Attention']);
  });

  test('in the batch axis, told apart by a mask', async () => {
    const inputs = [
      input('q', B * H, S, D),
      input('kT', B * H, D, T),
      input('v', B * H, T, D),
      input('m', B, 1, S, T),
    ];
    const graph = await optimised(
      model(
        inputs,
        [
          node('MatMul', 'q kT', 'a'),
          node('Reshape', 'a tall', 'b'),
          node('Add', 'b m', 'c'),
          node('Reshape', 'c flat', 's'),
          softmax,
          sum,
        ],
        {
          tall: ints(B, H, S, T),
          flat: ints(-1, S, T),
        },
      ),
    );
    expect(attentionIn(graph).outputs[0]!.shape).toEqual([B, H, S, D]);
  });

  test('one, in rank 3', async () => {
    const graph = await optimised(
      model(
        [input('q', B, S, D), input('kT', B, D, T), input('v', B, T, D), input('m', B, S, T)],
        [node('MatMul', 'q kT', 'a'), node('Add', 'a m', 's'), softmax, sum],
      ),
    );
    expect(attentionIn(graph).outputs[0]!.shape).toEqual([B, 1, S, D]);
  });

  test('one, in rank 2', async () => {
    const graph = await optimised(
      model(
        [input('q', S, D), input('kT', D, T), input('v', T, D)],
        [node('MatMul', 'q kT', 's'), softmax, sum],
      ),
    );
    expect(attentionIn(graph).outputs[0]!.shape).toEqual([1, 1, S, D]);
  });

  test('that share keys and values are not repeated', async () => {
    const repeat = (name: string): NodeSpec[] => [
      node('Unsqueeze', `${name} two`, `${name}u`),
      node('Expand', `${name}u wide`, `${name}e`),
      node('Reshape', `${name}e tall`, `${name}r`),
    ];
    const graph = await optimised(
      model(
        [input('q', B, 6, S, D), input('k', B, 2, T, D), input('v', B, 2, T, D)],
        [
          ...repeat('k'),
          ...repeat('v'),
          node('Transpose', 'kr', 't', perm(0, 1, 3, 2)),
          node('MatMul', 'q t', 's'),
          softmax,
          node('MatMul', 'p vr', 'y'),
        ],
        { two: ints(2), wide: ints(B, 2, 3, T, D), tall: ints(B, 6, T, D) },
      ),
    );
    expect(attentionIn(graph).inputs.map((value) => value!.name)).toEqual(['q', 'k', 'v']);
  });

  test('that share one batch of keys', async () => {
    const graph = await optimised(
      model(
        [q4, input('kT', 1, H, D, T), input('v', 1, 1, T, D)],
        [node('MatMul', 'q kT', 's'), softmax, sum],
      ),
    );
    expect(attentionIn(graph).inputs[1]!.shape[0]).toBe(B);
  });
});

test('an Attention operator does not keep repeated heads and a causal mask', async () => {
  const triangle = Array.from({ length: T * T }, (_, i) => Number(i % T <= Math.floor(i / T)));
  const repeat = (name: string): NodeSpec[] => [
    node('Unsqueeze', `${name} two`, `${name}u`),
    node('Expand', `${name}u wide`, `${name}e`),
    node('Reshape', `${name}e tall`, `${name}r`),
  ];
  const spec = model(
    [input('q', B, 6, T, D), input('k', B, 2, T, D), input('v', B, 2, T, D)],
    [...repeat('k'), ...repeat('v'), node('Attention', 'q kr vr mask', 'y')],
    {
      two: ints(2),
      wide: ints(B, 2, 3, T, D),
      tall: ints(B, 6, T, D),
      mask: {
        dtype: 'bool',
        dims: [T, T],
        raw: Uint8Array.from(triangle),
      },
    },
  );
  const found = attentionIn(await optimised({ ...spec, opsets: { '': 23 } }));
  expect(found.inputs.map((value) => value!.name)).toEqual(['q', 'k', 'v']);
  expect(attribute(found, 'causal')).toBe(1);
});

describe('left alone', () => {
  test('heads too large for the kernels', async () => {
    const inputs = [input('q', 1, 1, 2, 600), input('kT', 1, 1, 600, 3), input('v', 1, 1, 3, 4)];
    const graph = await optimised(model(inputs, [node('MatMul', 'q kT', 's'), softmax, sum]));
    expect(graph.nodes.map(({ op }) => op)).toEqual(['MatMul', 'Softmax', 'MatMul']);
  });

  const usual = [node('MatMul', 'q kT', 's'), softmax, sum];
  test.each([
    ['scores that are wanted', 's', usual],
    ['weights that are wanted', 'p', usual],
    [
      'another axis',
      'o',
      [usual[0]!, node('Softmax', 's', 'p', { axis: { int: 2 } }), sum, node('Neg', 'y', 'o')],
    ],
  ])('%s', async (_, name, nodes) => {
    const spec = model([q4, kT4, v4], nodes);
    const graph = await specialized({ ...spec, outputs: [...spec.outputs!, { name, dtype: 'float32' }] });
    expect(runPasses(graph, ...passes).nodes.map(({ op }) => op)).toContain('Softmax');
  });
});
