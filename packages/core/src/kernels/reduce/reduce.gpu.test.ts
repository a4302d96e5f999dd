import { describe, expect, test } from 'vitest';
import { byTurns, openEngine } from '../../../test/engine.ts';
import { reducedGroups } from '../../../test/reference/reduce.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import { input } from '../../graph/expr.ts';
import { OWN_DOMAIN } from '../../graph/graph.ts';
import { sizeOf } from '../../tensor/shape.ts';

const engine = openEngine();

const stored = { domain: OWN_DOMAIN, expr: input(0) };
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

const operators: Readonly<Record<string, (values: readonly number[]) => number>> = {
  ReduceSum: sum,
  ReduceMean: (values) => sum(values) / values.length,
  ReduceMax: (values) => Math.max(...values),
  ReduceMin: (values) => Math.min(...values),
  ReduceProd: (values) => values.reduce((a, b) => a * b, 1),
  ReduceSumSquare: (values) => sum(values.map((v) => v * v)),
  ReduceL1: (values) => sum(values.map(Math.abs)),
  ReduceL2: (values) => Math.hypot(...values),
  ReduceLogSum: (values) => Math.log(sum(values)),
};

// Partial sums of f32 over lanes; f16 keeps 11 bits of the result.
const tolerance = { f32: 2e-6, 'packed-f16': 1e-3 } as const;

describe.each(['f32', 'packed-f16'] as const)('reduce in %s', (precision) => {
  const cases = [
    { name: 'rows', shape: [3, 5, 16], axes: [2] },
    { name: 'odd rows', shape: [3, 5, 7], axes: [2] },
    { name: 'columns', shape: [3, 5, 8], axes: [1] },
    { name: 'odd columns', shape: [3, 5, 7], axes: [0] },
    { name: 'outer and inner axes', shape: [3, 5, 8], axes: [0, 2] },
    { name: 'everything', shape: [3, 5, 8], axes: [0, 1, 2] },
  ];
  test.each(byTurns(precision, cases))('$name', async ({ shape, axes }) => {
    // Near 1, so that products stay in range; f16 holds them exactly.
    const data = random(sizeOf(shape), 1).map((v) => 1 + Math.round(64 * v) / 1024);
    const graph = new TestGraph();
    const [x] = graph.node('Elementwise', [graph.input('x', { shape, data })], {}, stored);
    // Each is a kernel to compile: all of them for one case only.
    const all = Object.keys(operators);
    const names = shape[2] === 16 ? all : ['ReduceMean', 'ReduceMax', 'ReduceL2'];
    const outputs = names.flatMap((op) => graph.node(op, [x, graph.constant(axes, [axes.length], 'int64')]));
    const results = await runGraph(graph, outputs, { engine: engine(), precision });
    const groups = reducedGroups(data, shape, axes);
    names.forEach((op, k) => {
      const error = relativeL2(results.outputs[k]!.data, groups.map(operators[op]!));
      expect(error, op).toBeLessThan(tolerance[precision]);
    });
  });

  const few = [
    { name: 'columns', shape: [1, 64, 1100], perm: [0, 2, 1], axes: [2] },
    { name: 'rows', shape: [1, 1, 66_000], perm: [0, 1, 2], axes: [2] },
    { name: 'odd rows', shape: [1, 1, 20_001], perm: [0, 1, 2], axes: [2] },
  ];
  test.each(byTurns(precision, few))('splits few long $name', async ({ shape, perm, axes }) => {
    const data = random(sizeOf(shape), 2).map((v) => v + 1);
    const graph = new TestGraph();
    const inMemory = perm.map((axis) => shape[axis]!);
    // perm is its own inverse: the view has `shape` again.
    const [x] = graph.node('Transpose', [graph.input('x', { shape: inMemory, data })], { perm });
    const [y] = graph.node('ReduceMean', [x, graph.constant(axes, [1], 'int64')], { keepdims: 0 });
    const { outputs, plan } = await runGraph(graph, [y!], { engine: engine(), precision });
    expect(plan.steps.map((step) => (step.kind === 'dispatch' ? step.kernel.name : ''))).toEqual([
      'reduce_Mean_partial',
      'reduce_Mean_merge',
    ]);
    const groups = reducedGroups(
      data,
      inMemory,
      axes.map((axis) => perm[axis]!),
    );
    const expected = groups.map(operators['ReduceMean']!);
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance[precision]);
  });
});

test('reduces integers and strided views', async () => {
  const data = Float64Array.from({ length: 6 * 8 }, (_, i) => ((i * 37) % 19) - 9);
  const graph = new TestGraph();
  const x = graph.input('x', { shape: [6, 8], data, dtype: 'int32' });
  const ints = (...values: number[]) => graph.constant(values, [values.length], 'int64');
  const [every] = graph.node('Slice', [x, ints(5, 1), ints(-100, 8), ints(0, 1), ints(-2, 3)]);
  const outputs = ['ReduceSum', 'ReduceMax', 'ReduceL1'].flatMap((op) =>
    graph.node(op, [every, ints(0)], { keepdims: 0 }),
  );
  const { outputs: results } = await runGraph(graph, outputs, { engine: engine() });
  const columns = [1, 4, 7].map((column) => [5, 3, 1].map((row) => data[row * 8 + column]!));
  expect([...results[0]!.data]).toEqual(columns.map(sum));
  expect([...results[1]!.data]).toEqual(columns.map((values) => Math.max(...values)));
  expect([...results[2]!.data]).toEqual(columns.map((values) => sum(values.map(Math.abs))));
});
