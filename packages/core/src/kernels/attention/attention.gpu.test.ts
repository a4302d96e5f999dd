import { describe, expect, test } from 'vitest';
import { openEngine } from '../../../test/engine.ts';
import { attentionReference } from '../../../test/reference/attention.ts';
import { random, relativeL2, runGraph, TestGraph, type TestTensor } from '../../../test/run-graph.ts';
import { call, input } from '../../graph/expr.ts';
import { OWN_DOMAIN, type Value } from '../../graph/graph.ts';
import { sizeOf, type Shape } from '../../tensor/shape.ts';
import type { AttentionChoice } from './choose.ts';
import type { MatrixAttentionShape } from './matrix.ts';
import type { RowsShape } from './rows.ts';
import type { WideShape } from './wide.ts';
import type { WideMatrixShape } from './wide-matrix.ts';

const engine = openEngine();
const own = { domain: OWN_DOMAIN };

/** Exponentials of f32 sums; operands rounded to f16 in the other case. */
const tolerances = { f32: 5e-6, 'packed-f16': 2e-3 } as const;

interface Case {
  name: string;
  /** [batch, heads, queries, size] */
  q: [number, number, number, number];
  /** Heads of keys, keys, size of values; like q's by default. */
  keyHeads?: number;
  keys?: number;
  values?: number;
  causal?: boolean;
  mask?: { shape: Shape; kind: 'float' | 'bool' | 'lowest' | 'infinite' };
  /** Rows of queries in registers, four by default. */
  rows?: Pick<RowsShape, 'lanes'> & Partial<RowsShape>;
  /** On emulated subgroup matrices. */
  matrix?: MatrixAttentionShape;
  /** In slices of the head, on emulated subgroup matrices. */
  wideMatrix?: WideMatrixShape;
  /** In slices of the head, in f32. */
  wide?: WideShape;
  /** Later keys fit far better than the first, beyond what weights relative to those can hold. */
  rising?: boolean;
}

const manyRows = { threads: 32, rows: 4, tileKeys: 16, subgroups: true };

/**
 * Sizes are what the compiler unrolls, so they are small, and the same wherever a kernel has nothing of its own in another:
 * such cases share its pipeline.
 */
const cases: Case[] = [
  // Those that name no kernel run on the one for processors.
  { name: 'text of 77', q: [2, 2, 50, 40], keys: 77 },
  { name: 'many keys', q: [1, 2, 33, 40], keys: 150, rising: true },
  { name: 'one query', q: [1, 2, 1, 40], keys: 50 },
  { name: 'one key', q: [1, 2, 10, 40], keys: 1 },
  { name: 'odd sizes', q: [1, 2, 17, 7], keys: 19, values: 5 },
  { name: 'size 512', q: [1, 1, 12, 512], keys: 20 },
  { name: 'causal', q: [1, 2, 77, 64], causal: true },
  {
    name: 'grouped heads, bool mask',
    q: [2, 6, 20, 16],
    keyHeads: 2,
    keys: 24,
    mask: { shape: [1, 6, 20, 24], kind: 'bool' },
  },
  { name: 'additive mask', q: [2, 3, 20, 16], keys: 24, mask: { shape: [2, 1, 1, 24], kind: 'float' } },
  { name: 'additive mask by query', q: [2, 3, 20, 16], keys: 24, mask: { shape: [20, 24], kind: 'float' } },
  {
    name: 'rows masked by the lowest float average',
    q: [1, 1, 20, 16],
    keys: 24,
    mask: { shape: [20, 24], kind: 'lowest' },
  },
  {
    name: 'rows masked by minus infinity are zero',
    q: [1, 1, 20, 16],
    keys: 24,
    mask: { shape: [20, 24], kind: 'infinite' },
  },
  {
    name: 'one lane, odd sizes, masked rows',
    q: [1, 1, 17, 7],
    keys: 19,
    values: 5,
    mask: { shape: [17, 19], kind: 'infinite' },
    rows: { lanes: 1 },
  },
  {
    name: 'two lanes, three rows, causal',
    q: [1, 2, 77, 12],
    causal: true,
    rows: { lanes: 2, rows: 3 },
  },
  { name: 'four lanes, rising scores', q: [1, 2, 40, 16], keys: 96, rising: true, rows: { lanes: 4 } },
  {
    name: 'eight lanes without subgroups',
    q: [1, 2, 10, 20],
    keys: 20,
    rows: { lanes: 8, rows: 1, subgroups: false },
  },
  {
    name: 'wide, odd sizes, two groups a lane',
    q: [1, 2, 33, 70],
    keys: 39,
    values: 259,
    wide: { columnLanes: 64, tileKeys: 32 },
  },
  { name: 'wide, causal', q: [1, 2, 70, 48], causal: true, wide: { columnLanes: 64, tileKeys: 32 } },
  {
    name: 'wide, masked rows',
    q: [2, 2, 40, 48],
    keys: 40,
    mask: { shape: [2, 1, 40, 40], kind: 'infinite' },
    wide: { columnLanes: 64, tileKeys: 64 },
  },
  {
    name: 'wide, several scores a thread, rising',
    q: [1, 1, 32, 48],
    keys: 128,
    rising: true,
    wide: { columnLanes: 48, tileKeys: 64 },
  },
];

/** With operands that a kernel left in f16, as those on matrices have them. */
const halfCases: Case[] = [
  { name: 'text of 77', q: [2, 2, 50, 40], keys: 77 },
  {
    name: 'odd sizes, mask',
    q: [1, 2, 17, 7],
    keys: 19,
    values: 5,
    mask: { shape: [17, 19], kind: 'lowest' },
  },
  { name: 'two lanes', q: [1, 2, 40, 16], keys: 30, rows: { lanes: 2, rows: 2 } },
  {
    name: 'matrices, rising scores',
    q: [2, 2, 40, 16],
    keys: 96,
    values: 48,
    rising: true,
    matrix: { subgroups: 2, tileKeys: 32, buffers: 2 },
  },
  {
    name: 'matrices, rising scores, text of 77, one buffer',
    q: [1, 2, 50, 24],
    keys: 77,
    rising: true,
    matrix: { subgroups: 2, tileKeys: 16, buffers: 1 },
  },
  {
    name: 'matrices, odd sizes, masked rows',
    q: [1, 2, 19, 7],
    keys: 21,
    values: 10,
    mask: { shape: [2, 19, 21], kind: 'lowest' },
    matrix: { subgroups: 2, tileKeys: 16, buffers: 2 },
  },
  {
    name: 'matrices, causal',
    q: [1, 2, 50, 16],
    causal: true,
    matrix: { subgroups: 2, tileKeys: 32, buffers: 1 },
  },
  {
    name: 'wide matrices, odd sizes, masked rows',
    q: [2, 1, 37, 61],
    keys: 39,
    values: 50,
    mask: { shape: [37, 39], kind: 'lowest' },
    wideMatrix: { slices: 4, rows: 32, tileKeys: 16 },
  },
  {
    name: 'wide matrices, causal',
    q: [1, 1, 40, 64],
    causal: true,
    wideMatrix: { slices: 4, rows: 16, tileKeys: 32 },
  },
  {
    name: 'wide matrices, rising scores',
    q: [1, 1, 16, 64],
    keys: 64,
    rising: true,
    wideMatrix: { slices: 2, rows: 16, tileKeys: 16 },
  },
];

function maskData(shape: Shape, kind: 'float' | 'bool' | 'lowest' | 'infinite'): Float64Array {
  const noise = random(sizeOf(shape), 7);
  const keys = shape.at(-1)!;
  if (kind === 'float') return noise.map((x) => 3 * x);
  if (kind === 'bool') return noise.map((x, i) => Number(x > 0 || i % keys === 3));
  const low = kind === 'lowest' ? -3.4028234663852886e38 : -Infinity;
  // Every third row is masked throughout, of the others about half.
  return noise.map((x, i) => (Math.floor(i / keys) % 3 === 0 || (x > 0 && i % keys !== 3) ? low : 0));
}

async function run(
  c: Case,
  build: (graph: TestGraph, q: Value, k: Value, v: Value, mask: Value | undefined) => Value[],
  {
    precision = 'f32',
    epilogue = (y) => y,
  }: { precision?: keyof typeof tolerances; epilogue?: (y: number, i: number) => number } = {},
): Promise<void> {
  const [batch, heads, queries, size] = c.q;
  const [keyHeads, keys, values] = [c.keyHeads ?? heads, c.keys ?? queries, c.values ?? size];
  const tensor = (shape: Shape, seed: number): { shape: Shape; data: Float64Array } => ({
    shape,
    data: random(sizeOf(shape), seed).map((x) => 2 * x),
  });
  const [q, k, v] = [
    tensor(c.q, 1),
    tensor([batch, keyHeads, keys, size], 2),
    tensor([batch, keyHeads, keys, values], 3),
  ];
  if (c.rising) {
    for (let i = 0; i < q.data.length; i += size) q.data[i] = 4;
    for (let i = 0; i < k.data.length; i += size) k.data[i] = (0.375 * i) / size;
  }
  const graph = new TestGraph();
  const mask = c.mask && { shape: c.mask.shape, data: maskData(c.mask.shape, c.mask.kind) };
  const maskInput =
    mask && graph.input('mask', { ...mask, dtype: c.mask!.kind === 'bool' ? 'bool' : 'float32' });
  const operand = (name: string, x: TestTensor): Value =>
    precision === 'f32'
      ? graph.input(name, x)
      : graph.node('Add', [graph.input(name, x), graph.constant([0], [])])[0]!;
  const y = build(graph, operand('q', q), operand('k', k), operand('v', v), maskInput);
  const { outputs } = await runGraph(graph, y, {
    engine: engine(),
    precision,
    tuning: {
      attention: (_, rule) => override(rule, c),
    },
  });
  const added = (b: number, h: number, s: number, t: number): number => {
    if (c.causal && t > s) return -Infinity;
    if (!mask) return 0;
    const at = [b, h, s, t].slice(4 - mask.shape.length);
    const index = mask.shape.reduce((sum, dim, axis) => sum * dim + (dim === 1 ? 0 : at[axis]!), 0);
    const value = mask.data[index]!;
    return c.mask!.kind === 'bool' ? (value !== 0 ? 0 : -Infinity) : value;
  };
  const expected = attentionReference(q, k, v, 1 / Math.sqrt(size), added).map(epilogue);
  expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerances[precision]);
}

describe.each([
  ['f32', cases],
  ['packed-f16', halfCases],
] as const)('attention %s', (precision, ownCases) => {
  test.each(ownCases)('$name', async (c) => {
    await run(
      c,
      (graph, q, k, v, mask) => graph.node('Attention', [q, k, v, mask], c.causal ? { causal: 1 } : {}, own),
      { precision },
    );
  });
});

test('scale and epilogue', async () => {
  const r = random(16, 9);
  await run(
    { name: '', q: [1, 2, 9, 16] },
    (graph, q, k, v) =>
      graph.node(
        'Attention',
        [q, k, v],
        { scale: 0.25 },
        {
          ...own,
          epilogue: {
            expr: call('add', [input(0), input(1)]),
            inputs: [graph.weight('r', { shape: [16], data: r })],
          },
        },
      ),
    { epilogue: (y, i) => y + r[i % 16]! },
  );
});

test('operands split from one product are read where they lie', async () => {
  const [heads, queries, size] = [2, 20, 40];
  const qkv = { shape: [1, queries, 3 * heads * size], data: random(queries * 3 * heads * size, 5) };
  const graph = new TestGraph();
  const [tall] = graph.node('Reshape', [
    graph.input('qkv', qkv),
    graph.constant([1, queries, 3, heads, size], [5], 'int64'),
  ]);
  const [turned] = graph.node('Transpose', [tall], { perm: [2, 0, 3, 1, 4] });
  const parts = graph.node('Split', [turned], { axis: 0, num_outputs: 3 }, { outputs: 3 });
  const views = parts.map((part) => graph.node('Squeeze', [part, graph.constant([0], [1], 'int64')])[0]!);
  const y = graph.node('Attention', views, {}, own);
  const { outputs, plan } = await runGraph(graph, y, { engine: engine(), precision: 'f32' });
  const head = (which: number): { shape: Shape; data: Float64Array } => ({
    shape: [1, heads, queries, size],
    data: Float64Array.from({ length: heads * queries * size }, (_, i) => {
      const [d, s, h] = [i % size, Math.floor(i / size) % queries, Math.floor(i / size / queries)];
      return qkv.data[s * 3 * heads * size + (which * heads + h) * size + d]!;
    }),
  });
  const expected = attentionReference(head(0), head(1), head(2), 1 / Math.sqrt(size));
  expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerances.f32);
  expect(
    plan.steps
      .map((step) => (step.kind === 'dispatch' ? step.kernel.name : ''))
      .filter((name) => !name.startsWith('copy')),
  ).toHaveLength(1);
});

function override(rule: AttentionChoice, { rows, matrix, wide, wideMatrix }: Case): AttentionChoice {
  if (wide) return { kind: 'wide', shape: wide };
  if (wideMatrix) return { kind: 'wide-matrix', shape: { ...wideMatrix, emulated: true } };
  if (matrix) return { kind: 'matrix', shape: { ...matrix, emulated: true } };
  return rows ? { kind: 'rows', shape: { ...manyRows, ...rows } } : rule;
}
