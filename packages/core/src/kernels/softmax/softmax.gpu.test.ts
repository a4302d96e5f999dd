import { describe, expect, test } from 'vitest';
import { byTurns, openEngine } from '../../../test/engine.ts';
import { softmaxRows } from '../../../test/reference/softmax.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import { input } from '../../graph/expr.ts';
import { OWN_DOMAIN } from '../../graph/graph.ts';
import { sizeOf } from '../../tensor/shape.ts';

const engine = openEngine();

// exp of WGSL is good to 3 + 2|x| units in the last place; f16 keeps 11 bits (of the inputs here all of them).
const tolerance = { f32: 5e-6, 'packed-f16': 2e-3 } as const;
const stored = { domain: OWN_DOMAIN, expr: input(0) };

const cases = [
  { name: 'one column', shape: [3, 1], axis: -1 },
  { name: 'odd columns', shape: [5, 7], axis: -1 },
  { name: 'several rows a workgroup', shape: [2, 9, 77, 20], axis: -1 },
  { name: 'longer than the workgroup', shape: [2, 4100], axis: -1 },
  { name: 'longer than registers', shape: [1, 9001], axis: -1 },
  { name: 'an outer axis', shape: [2, 12, 5], axis: 1 },
  { name: 'the first axis', shape: [6, 4], axis: 0 },
];

describe.each(['f32', 'packed-f16'] as const)('softmax in %s', (precision) => {
  test.each(byTurns(precision, cases))('$name', async ({ shape, axis }) => {
    const data = random(sizeOf(shape), 1).map((v) => Math.round(640 * v) / 32);
    const graph = new TestGraph();
    const [x] = graph.node('Elementwise', [graph.input('x', { shape, data })], {}, stored);
    const outputs = [...graph.node('Softmax', [x], { axis }), ...graph.node('LogSoftmax', [x], { axis })];
    const results = await runGraph(graph, outputs, { engine: engine(), precision });
    const expected = alongAxis(data, shape, axis);
    expect(relativeL2(results.outputs[0]!.data, expected)).toBeLessThan(tolerance[precision]);
    const logarithm = expected.map(Math.log);
    if (shape.at(axis) === 1) expect([...results.outputs[1]!.data]).toEqual([...logarithm]);
    else expect(relativeL2(results.outputs[1]!.data, logarithm)).toBeLessThan(tolerance[precision]);
  });
});

test('softmax before opset 13 takes all axes from one on as a row', async () => {
  const data = random(2 * 3 * 4, 2);
  const graph = new TestGraph();
  const x = graph.input('x', { shape: [2, 3, 4], data });
  const [y] = graph.node('Softmax', [x], {}, { opset: 11 });
  const { outputs } = await runGraph(graph, [y!], { engine: engine() });
  expect(relativeL2(outputs[0]!.data, softmaxRows(data, 12))).toBeLessThan(tolerance.f32);
});

/** softmaxRows of the transposed tensor, transposed back. */
function alongAxis(x: Float64Array, shape: readonly number[], axis: number): Float64Array {
  const at = axis < 0 ? axis + shape.length : axis;
  const inner = sizeOf(shape.slice(at + 1));
  const length = shape[at]!;
  const index = (i: number): number => {
    const [row, k] = [Math.floor(i / length), i % length];
    return Math.floor(row / inner) * length * inner + k * inner + (row % inner);
  };
  const y = softmaxRows(
    x.map((_, i) => x[index(i)]!),
    length,
  );
  const result = new Float64Array(x.length);
  y.forEach((v, i) => (result[index(i)] = v));
  return result;
}
