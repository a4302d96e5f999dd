import { beforeAll, expect, test } from 'vitest';
import { pageEngine } from '../../test/engine.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../test/run-graph.ts';
import type { Engine } from '../gpu/engine.ts';
import { sizeOf } from '../tensor/shape.ts';

// ArgMax, CumSum and TopK: kernels that go along lines.

let engine: Engine;
beforeAll(async () => void (engine = await pageEngine()));
const cases = [
  { name: 'short lines', shape: [3, 4, 5], axis: 1 },
  { name: 'lines shared by lanes', shape: [2, 300], axis: 1 },
  { name: 'the first axis', shape: [40, 3], axis: 0 },
  { name: 'one element', shape: [2, 1], axis: 1 },
];

/** Lines of a row-major tensor along an axis, each as indices. */
function linesOf(shape: readonly number[], axis: number): number[][] {
  const inner = sizeOf(shape.slice(axis + 1));
  const length = shape[axis]!;
  return Array.from({ length: sizeOf(shape) / length }, (_, line) => {
    const start = Math.floor(line / inner) * length * inner + (line % inner);
    return Array.from({ length }, (__, k) => start + k * inner);
  });
}

test.each(cases)('$name', async ({ shape, axis }) => {
  // Few different values, so that there are ties.
  const data = random(sizeOf(shape), 1).map((v) => Math.round(8 * v) / 8);
  const length = shape[axis]!;
  const k = Math.ceil(length / 2);
  const graph = new TestGraph();
  const x = graph.input('x', { shape, data });
  const at = graph.constant([axis], [], 'int64');
  const outputs = [
    ...graph.node('ArgMax', [x], { axis, keepdims: 0 }),
    ...graph.node('ArgMin', [x], { axis, keepdims: 0, select_last_index: 1 }),
    ...graph.node('CumSum', [x, at]),
    ...graph.node('CumSum', [x, at], { exclusive: 1, reverse: 1 }),
    ...graph.node('TopK', [x, graph.constant([k], [1], 'int64')], { axis }, { outputs: 2 }),
  ];
  const { outputs: results } = await runGraph(graph, outputs, { engine });
  const lines = linesOf(shape, axis).map((indices) => ({ indices, values: indices.map((i) => data[i]!) }));

  const largest = lines.map(({ values }) => values.indexOf(Math.max(...values)));
  expect([...results[0]!.data]).toEqual(largest);
  const smallest = lines.map(({ values }) => values.lastIndexOf(Math.min(...values)));
  expect([...results[1]!.data]).toEqual(smallest);

  const [running, reversed] = [new Float64Array(data.length), new Float64Array(data.length)];
  for (const { indices } of lines) {
    let sum = 0;
    for (const i of indices) running[i] = sum += data[i]!;
    sum = 0;
    for (const i of indices.toReversed()) {
      reversed[i] = sum;
      sum += data[i]!;
    }
  }
  // Multiples of 1/8 add up exactly.
  expect([...results[2]!.data]).toEqual([...running]);
  expect([...results[3]!.data]).toEqual([...reversed]);

  const taken = shape.map((dim, other) => (other === axis ? k : dim));
  const [values, places] = [new Float64Array(sizeOf(taken)), new Float64Array(sizeOf(taken))];
  linesOf(taken, axis).forEach((indices, line) => {
    const own = lines[line]!.values;
    const order = own.map((_, i) => i).toSorted((a, b) => own[b]! - own[a]! || a - b);
    indices.forEach((i, rank) => {
      places[i] = order[rank]!;
      values[i] = own[order[rank]!]!;
    });
  });
  expect(relativeL2(results[4]!.data, values)).toBe(0);
  expect([...results[5]!.data]).toEqual([...places]);
});

test('spreads lines over a grid of two dimensions', async () => {
  const shape = [2000, 8];
  const data = random(sizeOf(shape), 2);
  const graph = new TestGraph();
  const x = graph.input('x', { shape, data });
  const axes = graph.constant([1], [1], 'int64');
  const outputs = [
    ...graph.node('ArgMax', [x], { axis: 1, keepdims: 0 }),
    ...graph.node('ReduceMax', [x, axes], { keepdims: 0 }),
    ...graph.node('Softmax', [x], { axis: 1 }),
  ];
  const limits = { maxComputeWorkgroupsPerDimension: 40 };
  const { outputs: results } = await runGraph(graph, outputs, { engine, limits });
  const rows = linesOf(shape, 1).map((indices) => indices.map((i) => data[i]!));
  expect([...results[0]!.data]).toEqual(rows.map((row) => row.indexOf(Math.max(...row))));
  expect([...results[1]!.data]).toEqual(rows.map((row) => Math.fround(Math.max(...row))));
  const expected = rows.flatMap((row) => {
    const total = row.reduce((sum, v) => sum + Math.exp(v), 0);
    return row.map((v) => Math.exp(v) / total);
  });
  expect(relativeL2(results[2]!.data, expected)).toBeLessThan(1e-6);
});
