import { describe, expect, test } from 'vitest';
import { byTurns, openEngine } from '../../../test/engine.ts';
import { matmulReference } from '../../../test/reference/matmul.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import { smallFmaTile, smallMatrixTile } from '../../../test/small-tiles.ts';
import { call, input } from '../../graph/expr.ts';
import { OWN_DOMAIN } from '../../graph/graph.ts';
import { sizeOf, type Shape } from '../../tensor/shape.ts';
import { fmaTiles } from './choose-fma.ts';
import type { GemmChoice } from './choose.ts';
import type { MatrixTile } from './matrix-layout.ts';

const engine = openEngine();

/** Sums of K products in f32; operands rounded to f16 in the other case. */
const tolerances = { f32: 2e-6, 'packed-f16': 1e-3 } as const;

interface Case {
  name: string;
  a: Shape;
  b: Shape;
  weight?: boolean;
  choice?: GemmChoice;
}

const fma = (tile = smallFmaTile, slices = 1): GemmChoice => ({ kind: 'fma', tile, slices });

const direct: GemmChoice = {
  kind: 'direct',
  tile: { threadRows: 8, threadColumns: 8, lanes: 4, rowLanes: 1 },
};

const cases: Case[] = [
  { name: 'chosen by the rules', a: [100, 72], b: [72, 96], weight: true },
  { name: 'batch of the left joins the rows', a: [2, 3, 20, 40], b: [40, 36], weight: true },
  { name: 'both batched', a: [2, 3, 20, 24], b: [2, 3, 24, 28] },
  { name: 'broadcast of outer and inner axes', a: [2, 1, 10, 12], b: [3, 12, 16] },
  { name: 'left without batch', a: [17, 12], b: [3, 12, 16] },
  { name: 'odd sizes', a: [33, 77], b: [77, 39], weight: true },
  { name: 'odd sizes, activations', a: [2, 33, 77], b: [2, 77, 39] },
  { name: 'one column', a: [50, 64], b: [64, 1], weight: true },
  { name: 'three columns', a: [300, 64], b: [64, 3], weight: true },
  { name: 'four columns', a: [300, 64], b: [64, 4], weight: true },
  { name: 'depth of one', a: [40, 1], b: [1, 40] },
  { name: 'one row', a: [1, 320], b: [320, 1280], weight: true },
  { name: 'seven odd rows', a: [7, 77], b: [77, 70], weight: true },
  { name: 'few rows, batched activations', a: [3, 2, 30], b: [3, 30, 8] },
  ...Object.entries(fmaTiles).map(([name, tile]) => ({
    name: `fma ${name}`,
    a: [140, 52],
    b: [52, 136],
    weight: true,
    choice: fma(tile),
  })),
  // What products of more than a few million multiplications take on processors.
  ...[true, false].map((weight) => ({
    name: `direct, large tiles, ${weight ? 'a weight' : 'activations'}`,
    a: [70, 76],
    b: [76, 67],
    weight,
    choice: direct,
  })),
  {
    name: 'gemv',
    a: [5, 52],
    b: [52, 40],
    weight: true,
    choice: { kind: 'gemv', shape: { lanes: 8, depthLanes: 32 } },
  },
  { name: 'fma, columns of b contiguous', a: [40, 52], b: [52, 40], choice: fma() },
  {
    name: 'fma split over depth',
    a: [70, 200],
    b: [200, 68],
    weight: true,
    choice: fma(smallFmaTile, 3),
  },
  {
    name: 'fma split over depth, odd columns',
    a: [70, 200],
    b: [200, 67],
    weight: true,
    choice: fma(smallFmaTile, 5),
  },
  {
    name: 'fma split over more slices than tiles of depth',
    a: [70, 40],
    b: [40, 68],
    choice: fma(smallFmaTile, 4),
  },
];

describe.each(['f32', 'packed-f16'] as const)('gemm %s', (precision) => {
  test.each(byTurns(precision, cases))('$name', async ({ a, b, weight, choice }) => {
    const left = { shape: a, data: random(sizeOf(a), 1) };
    const right = { shape: b, data: random(sizeOf(b), 2) };
    const graph = new TestGraph();
    const y = graph.node('MatMul', [
      graph.input('a', left),
      weight ? graph.weight('b', right) : graph.input('b', right),
    ]);
    const { outputs } = await runGraph(graph, y, {
      engine: engine(),
      precision,
      tuning: { gemm: (_, rule) => choice ?? rule },
    });
    const expected = matmulReference(left, right);
    expect(outputs[0]!.shape).toEqual(expected.shape);
    expect(relativeL2(outputs[0]!.data, expected.data)).toBeLessThan(tolerances[precision]);
  });

  const finished = [
    ['one dispatch', [3, 20, 64], [64, 24]],
    ['split over depth', [20, 2048], [2048, 24]],
    ['odd columns', [20, 64], [64, 23]],
    ['few rows', [2, 64], [64, 24]],
  ] as const;
  test.each(byTurns(precision, finished))('epilogue, %s', async (_, a, b) => {
    const columns = b[1];
    const shape = [...a.slice(0, -1), columns];
    const [left, right] = [
      { shape: a, data: random(sizeOf(a), 5) },
      { shape: b, data: random(sizeOf(b), 6) },
    ];
    const bias = { shape: [columns], data: random(columns, 7) };
    const residual = { shape, data: random(sizeOf(shape), 8) };
    const graph = new TestGraph();
    const expr = call('add', [call('silu', [call('add', [input(0), input(1)])]), input(2)]);
    const y = graph.node(
      'MatMul',
      [graph.input('a', left), graph.weight('b', right)],
      {},
      {
        epilogue: { expr, inputs: [graph.weight('bias', bias), graph.input('residual', residual)] },
      },
    );
    const { outputs } = await runGraph(graph, y, { engine: engine(), precision });
    const product = matmulReference(left, right).data;
    const expected = product.map((v, i) => {
      const x = v + bias.data[i % columns]!;
      return x / (1 + Math.exp(-x)) + residual.data[i]!;
    });
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerances[precision]);
  });

  const gated = [
    ['GEGLU', [2, 20, 40], 24, 'gelu', 1],
    ['split over depth', [40, 70], 28, 'gelu', 1],
    ['SwiGLU with the gate on the left', [50, 40], 28, 'silu', 0],
    ['few rows', [2, 40], 24, 'gelu', 1],
    ['odd columns', [30, 40], 23, 'silu', 1],
  ] as const;
  test.each(byTurns(precision, gated))('gated: %s', async (name, a, columns, activation, gate) => {
    const left = { shape: a, data: random(sizeOf(a), 9) };
    const right = { shape: [a.at(-1)!, 2 * columns], data: random(a.at(-1)! * 2 * columns, 10) };
    const bias = { shape: [2 * columns], data: random(2 * columns, 11) };
    const graph = new TestGraph();
    const y = graph.node(
      'GatedMatMul',
      [graph.input('a', left), graph.weight('b', right), graph.weight('bias', bias)],
      { activation, gate },
      { domain: OWN_DOMAIN },
    );
    const { outputs } = await runGraph(graph, y, {
      engine: engine(),
      precision,
      tuning: { gemm: (_, rule) => (name === 'split over depth' ? fma(fmaTiles.small, 3) : rule) },
    });
    const product = matmulReference(left, right).data;
    const expected: number[] = [];
    for (let m = 0; m < product.length / (2 * columns); m++) {
      for (let n = 0; n < columns; n++) {
        const l = product[m * 2 * columns + n]! + bias.data[n]!;
        const r = product[m * 2 * columns + columns + n]! + bias.data[columns + n]!;
        expected.push(gate === 1 ? l * activations[activation](r) : activations[activation](l) * r);
      }
    }
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerances[precision]);
  });
});

test('transposed and sliced operands are read where they lie', async () => {
  const [a, b] = [
    { shape: [2, 10, 3, 16], data: random(960, 3) },
    { shape: [2, 12, 3, 16], data: random(1152, 4) },
  ];
  const graph = new TestGraph();
  const [q] = graph.node('Transpose', [graph.input('a', a)], { perm: [0, 2, 1, 3] });
  const [k] = graph.node('Transpose', [graph.input('b', b)], { perm: [0, 2, 3, 1] });
  const y = graph.node('MatMul', [q, k]);
  const { outputs, plan } = await runGraph(graph, y, { engine: engine(), precision: 'f32' });
  const expected = matmulReference(permuted(a, [0, 2, 1, 3]), permuted(b, [0, 2, 3, 1]));
  expect(relativeL2(outputs[0]!.data, expected.data)).toBeLessThan(tolerances.f32);
  expect(plan.steps).toHaveLength(1);
});

test.each([
  [0, 0, [24]],
  [1, 0, [20, 24]],
  [0, 1, [20, 1]],
  [1, 1, []],
] as const)('Gemm transA %i transB %i', async (transA, transB, c) => {
  const a = { shape: [20, 36], data: random(720, 12) };
  const b = { shape: [36, 24], data: random(864, 13) };
  const stored = {
    a: transA ? permuted(a, [1, 0]) : a,
    b: transB ? permuted(b, [1, 0]) : b,
    c: { shape: c, data: random(sizeOf(c), 14) },
  };
  const graph = new TestGraph();
  const y = graph.node(
    'Gemm',
    [graph.input('a', stored.a), graph.weight('b', stored.b), graph.input('c', stored.c)],
    { transA, transB, alpha: 0.5, beta: 2 },
  );
  const { outputs } = await runGraph(graph, y, { engine: engine(), precision: 'f32' });
  const rows = c.length === 2;
  const expected = matmulReference(a, b).data.map((v, i) => {
    const [m, n] = [Math.floor(i / 24), i % 24];
    const at = c.length === 0 ? 0 : !rows ? n : c[1] === 1 ? m : m * 24 + n;
    return 0.5 * v + 2 * stored.c.data[at]!;
  });
  expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerances.f32);
});

const activations = {
  gelu: (x: number): number => x * normal(x),
  silu: (x: number): number => x / (1 + Math.exp(-x)),
};

/**
 * The matrix back end on emulated matrices: the same indices, barriers and memory as on tensor cores. `kn` and `nk` lay
 * workgroup memory out differently.
 */
describe('gemm on emulated subgroup matrices', () => {
  const run = async (
    { a, b, weight }: Omit<Case, 'name' | 'choice'>,
    shape: MatrixTile,
    slices = 1,
  ): Promise<void> => {
    const [left, right] = [
      { shape: a, data: random(sizeOf(a), 1) },
      { shape: b, data: random(sizeOf(b), 2) },
    ];
    const graph = new TestGraph();
    const second = weight
      ? graph.weight('b', right)
      : graph.node('Add', [graph.input('b', right), graph.constant([0], [])])[0];
    // Through an operator, so that the operand is stored in f16.
    const [first] = graph.node('Add', [graph.input('a', left), graph.constant([0], [])]);
    const y = graph.node('MatMul', [first, second]);
    const { outputs } = await runGraph(graph, y, {
      engine: engine(),
      precision: 'packed-f16',
      tuning: { gemm: () => ({ kind: 'matrix', tile: shape, slices, emulated: true }) },
    });
    expect(relativeL2(outputs[0]!.data, matmulReference(left, right).data)).toBeLessThan(
      tolerances['packed-f16'],
    );
  };
  test.each([
    ['kn', [70, 64], [64, 48], true],
    ['nk', [70, 64], [64, 48], true],
    ['kn, odd sizes', [33, 77], [77, 39], true],
    ['nk, odd sizes', [33, 77], [77, 39], true],
    ['kn, batched activations', [2, 33, 40], [2, 40, 24], false],
  ] as const)('%s', (name, a, b, weight) =>
    run({ a, b, weight }, smallMatrixTile(name.startsWith('kn') ? 'kn' : 'nk')),
  );
  test('deep tiles, wide subgroups', () =>
    run(
      { a: [40, 128], b: [128, 80], weight: true },
      smallMatrixTile('nk', { tileRows: 32, tileColumns: 48, subgroupColumns: 48, tileDepth: 64 }),
    ));
  test('guarded copies', () =>
    run({ a: [40, 64], b: [64, 48], weight: true }, smallMatrixTile('nk', { tileColumns: 48 })));
  test('several matrices a subgroup', () =>
    run(
      { a: [64, 64], b: [64, 64], weight: true },
      smallMatrixTile('kn', { tileRows: 64, subgroupColumns: 32 }),
    ));
  test('split over depth', () => run({ a: [33, 200], b: [200, 40], weight: true }, smallMatrixTile('kn'), 3));
});

/** Normal distribution function, integrated from the density. */
function normal(x: number): number {
  const steps = 2000;
  let sum = 0;
  for (let i = 0; i < steps; i++) {
    const t = (x * (i + 0.5)) / steps;
    sum += Math.exp((-t * t) / 2);
  }
  return 0.5 + (sum * x) / steps / Math.sqrt(2 * Math.PI);
}

function permuted(
  tensor: { shape: Shape; data: Float64Array },
  permutation: readonly number[],
): { shape: number[]; data: Float64Array } {
  const shape = permutation.map((axis) => tensor.shape[axis]!);
  const strides = tensor.shape.map((_, axis) => sizeOf(tensor.shape.slice(axis + 1)));
  const data = new Float64Array(tensor.data.length);
  for (let i = 0; i < data.length; i++) {
    let rest = i;
    let from = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += (rest % shape[axis]!) * strides[permutation[axis]!]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    data[i] = tensor.data[from]!;
  }
  return { shape, data };
}
