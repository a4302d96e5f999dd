import { describe, expect, test } from 'vitest';
import { openEngines } from '../../../test/engines.ts';
import { attentionReference } from '../../../test/reference/attention.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import { call, input } from '../../graph/expr.ts';
import { OWN_DOMAIN, type Value } from '../../graph/graph.ts';
import { sizeOf, type Shape } from '../../tensor/shape.ts';
import type { AttentionChoice } from './choose.ts';
import type { MatrixAttentionShape } from './matrix.ts';
import type { RowsShape } from './rows.ts';
import type { WideShape } from './wide.ts';
import type { WideMatrixShape } from './wide-matrix.ts';

const engines = openEngines();

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
  /** Rows of queries in registers; what is not given is `smallRows`. */
  rows?: Partial<RowsShape>;
  /** On emulated subgroup matrices. */
  matrix?: MatrixAttentionShape;
  /** In slices of the head, on emulated subgroup matrices. */
  wideMatrix?: WideMatrixShape;
  /** In slices of the head, in f32. */
  wide?: WideShape;
  /** Later keys fit far better than the first, beyond what weights relative to those can hold. */
  rising?: boolean;
  /** Compiles for seconds here, and has nothing of its own in another storage. */
  onlyF32?: boolean;
}

const smallRows: RowsShape = { threads: 32, lanes: 2, rows: 4, tileKeys: 16, subgroups: true };

// Those that name no kernel run on the one for processors.
const cases: Case[] = [
  { name: 'size 64', q: [1, 2, 70, 64] },
  { name: 'size 40, text of 77', q: [2, 2, 50, 40], keys: 77 },
  { name: 'size 8', q: [1, 3, 33, 8], keys: 20 },
  { name: 'size 1', q: [1, 2, 9, 1], keys: 5 },
  { name: 'odd sizes', q: [1, 2, 17, 7], keys: 19, values: 5 },
  { name: 'size 80', q: [1, 1, 20, 80], keys: 40 },
  { name: 'size 128, values of 64', q: [1, 1, 20, 128], keys: 40, values: 64, onlyF32: true },
  { name: 'many keys', q: [1, 2, 33, 16], keys: 150, rising: true },
  { name: 'size 512', q: [1, 1, 12, 512], keys: 20 },
  { name: 'one query', q: [1, 2, 1, 16], keys: 50 },
  { name: 'one key', q: [1, 2, 10, 16], keys: 1 },
  { name: 'causal', q: [1, 2, 77, 64], causal: true },
  { name: 'grouped heads', q: [2, 6, 20, 16], keyHeads: 2 },
  { name: 'additive mask', q: [2, 3, 20, 16], keys: 24, mask: { shape: [2, 1, 1, 24], kind: 'float' } },
  { name: 'additive mask by query', q: [2, 3, 20, 16], keys: 24, mask: { shape: [20, 24], kind: 'float' } },
  { name: 'bool mask', q: [1, 3, 20, 16], keys: 24, mask: { shape: [1, 3, 20, 24], kind: 'bool' } },
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
  { name: 'one lane, four rows', q: [1, 2, 40, 16], keys: 30, rows: { lanes: 1, rows: 4 } },
  { name: 'two lanes, three rows', q: [1, 2, 40, 40], keys: 30, rows: { lanes: 2, rows: 3 } },
  { name: 'four lanes, four rows', q: [1, 2, 40, 64], keys: 30, rows: { lanes: 4, rows: 4 } },
  {
    name: 'rows, odd sizes',
    q: [1, 2, 17, 7],
    keys: 19,
    values: 5,
    rows: { lanes: 1 },
  },
  { name: 'rows, causal', q: [1, 2, 77, 16], causal: true, rows: {} },
  {
    name: 'rows, masked rows',
    q: [1, 1, 20, 16],
    keys: 24,
    mask: { shape: [20, 24], kind: 'infinite' },
    rows: {},
  },
  { name: 'rows, rising scores', q: [1, 1, 32, 48], keys: 96, rising: true, rows: {}, onlyF32: true },
  {
    name: 'without subgroups',
    q: [1, 1, 20, 64],
    keys: 30,
    rows: { lanes: 4, rows: 2, subgroups: false, threads: 32 },
    onlyF32: true,
  },
  {
    name: 'eight lanes without subgroups',
    q: [1, 1, 10, 128],
    keys: 20,
    rows: { lanes: 8, rows: 2, subgroups: false, threads: 32 },
    onlyF32: true,
  },
  {
    name: 'matrices, size 32',
    q: [2, 2, 40, 32],
    keys: 96,
    matrix: { subgroups: 2, tileKeys: 32, buffers: 2 },
  },
  {
    name: 'matrices, size 40, text of 77',
    q: [1, 2, 40, 40],
    keys: 77,
    matrix: { subgroups: 2, tileKeys: 16, buffers: 1 },
  },
  {
    name: 'matrices, odd sizes',
    q: [1, 1, 19, 7],
    keys: 21,
    values: 18,
    matrix: { subgroups: 1, tileKeys: 16, buffers: 2 },
  },
  {
    name: 'matrices, causal',
    q: [1, 2, 50, 16],
    causal: true,
    matrix: { subgroups: 2, tileKeys: 16, buffers: 1 },
  },
  {
    name: 'matrices, mask',
    q: [1, 2, 33, 16],
    keys: 40,
    mask: { shape: [2, 33, 40], kind: 'float' },
    matrix: { subgroups: 2, tileKeys: 32, buffers: 2 },
  },
  {
    name: 'matrices, masked rows',
    q: [1, 1, 20, 16],
    keys: 24,
    mask: { shape: [20, 24], kind: 'lowest' },
    matrix: { subgroups: 1, tileKeys: 16, buffers: 1 },
  },
  {
    name: 'matrices, rising scores',
    q: [1, 1, 32, 48],
    keys: 96,
    rising: true,
    matrix: { subgroups: 1, tileKeys: 32, buffers: 2 },
  },
  {
    name: 'matrices, rising scores, one buffer',
    q: [1, 2, 50, 24],
    keys: 75,
    rising: true,
    matrix: { subgroups: 2, tileKeys: 16, buffers: 1 },
  },
  {
    name: 'wide, odd sizes',
    q: [1, 2, 33, 70],
    keys: 39,
    values: 50,
    wide: { columnLanes: 16, tileKeys: 32 },
    onlyF32: true,
  },
  {
    name: 'wide, two groups a lane',
    q: [1, 1, 12, 64],
    keys: 20,
    wide: { columnLanes: 8, tileKeys: 32 },
    onlyF32: true,
  },
  {
    name: 'wide, causal',
    q: [1, 2, 70, 48],
    causal: true,
    wide: { columnLanes: 16, tileKeys: 32 },
    onlyF32: true,
  },
  {
    name: 'wide, masked rows',
    q: [2, 2, 40, 48],
    keys: 40,
    mask: { shape: [2, 1, 40, 40], kind: 'infinite' },
    wide: { columnLanes: 32, tileKeys: 64 },
    onlyF32: true,
  },
  {
    name: 'wide, rising scores',
    q: [1, 1, 32, 48],
    keys: 96,
    rising: true,
    wide: { columnLanes: 16, tileKeys: 32 },
    onlyF32: true,
  },
  {
    name: 'wide matrices, odd sizes',
    q: [2, 1, 37, 71],
    keys: 39,
    values: 50,
    wideMatrix: { slices: 4, rows: 32, tileKeys: 32 },
  },
  {
    name: 'wide matrices, causal',
    q: [1, 1, 40, 64],
    causal: true,
    wideMatrix: { slices: 4, rows: 16, tileKeys: 16 },
  },
  {
    name: 'wide matrices, masked rows',
    q: [1, 1, 20, 64],
    keys: 40,
    mask: { shape: [20, 40], kind: 'lowest' },
    wideMatrix: { slices: 4, rows: 16, tileKeys: 16 },
  },
  {
    name: 'wide matrices, rising scores',
    q: [1, 1, 16, 112],
    keys: 64,
    rising: true,
    wideMatrix: { slices: 4, rows: 16, tileKeys: 16 },
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

describe.each(['f32', 'packed-f16'] as const)('attention %s', (precision) => {
  const run = async (
    c: Case,
    build: (graph: TestGraph, q: Value, k: Value, v: Value, mask: Value | undefined) => Value[],
    epilogue = (y: number, _i: number): number => y,
  ): Promise<void> => {
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
    const y = build(graph, graph.input('q', q), graph.input('k', k), graph.input('v', v), maskInput);
    const { outputs } = await runGraph(graph, y, {
      engine: engines.get(precision)!,
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
  };
  const own = { domain: OWN_DOMAIN };

  const fitting = cases.filter((c) => (precision === 'f32' ? !(c.matrix ?? c.wideMatrix) : !c.onlyF32));
  test.each(fitting)('$name', async (c) => {
    await run(c, (graph, q, k, v, mask) =>
      graph.node('Attention', [q, k, v, mask], c.causal ? { causal: 1 } : {}, own),
    );
  });

  test('scale and epilogue', async () => {
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
              inputs: [graph.weight('r', { shape: [16], data: random(16, 9) })],
            },
          },
        ),
      (y, i) => y + random(16, 9)[i % 16]!,
    );
  });

  test('operands split from one product are read where they lie', async () => {
    const [heads, queries, size] = [2, 20, 16];
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
    const { outputs, plan } = await runGraph(graph, y, { engine: engines.get(precision)!, precision });
    const head = (which: number): { shape: Shape; data: Float64Array } => ({
      shape: [1, heads, queries, size],
      data: Float64Array.from({ length: heads * queries * size }, (_, i) => {
        const [d, s, h] = [i % size, Math.floor(i / size) % queries, Math.floor(i / size / queries)];
        return qkv.data[s * 3 * heads * size + (which * heads + h) * size + d]!;
      }),
    });
    const expected = attentionReference(head(0), head(1), head(2), 0.25);
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerances[precision]);
    expect(
      plan.steps
        .map((step) => (step.kind === 'dispatch' ? step.kernel.name : ''))
        .filter((name) => !name.startsWith('copy')),
    ).toHaveLength(1);
  });
});

function override(rule: AttentionChoice, { rows, matrix, wide, wideMatrix }: Case): AttentionChoice {
  if (wide) return { kind: 'wide', shape: wide };
  if (wideMatrix) return { kind: 'wide-matrix', shape: { ...wideMatrix, emulated: true } };
  if (matrix) return { kind: 'matrix', shape: { ...matrix, emulated: true } };
  return rows ? { kind: 'rows', shape: { ...smallRows, ...rows } } : rule;
}
