import { expect, test } from 'vitest';
import { openEngine } from '../../../test/engine.ts';
import { call, input } from '../../graph/expr.ts';
import { OWN_DOMAIN } from '../../graph/graph.ts';
import { broadcastShapes, sizeOf, stridesOf } from '../../tensor/shape.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';

const engine = openEngine();

const cases = [
  { name: 'same shape', a: [2, 3, 8], b: [2, 3, 8] },
  { name: 'scalar', a: [5, 7], b: [] },
  { name: 'per channel', a: [2, 4, 6], b: [4, 1] },
  { name: 'inner axis', a: [3, 12], b: [12] },
  { name: 'odd inner axis', a: [3, 5], b: [5] },
  { name: 'both broadcast', a: [4, 1, 6], b: [3, 1] },
  { name: 'a single element', a: [1], b: [1] },
  { name: 'many small axes', a: [2, 3, 2, 5, 3], b: [3, 1, 5, 1] },
];

test.each(cases)('elementwise: $name', async ({ a, b }) => {
  const graph = new TestGraph();
  const x = { shape: a, data: random(sizeOf(a), 1) };
  const y = { shape: b, data: random(sizeOf(b), 2) };
  const [sum] = graph.node(
    'Elementwise',
    [graph.input('x', x), graph.input('y', y)],
    {},
    {
      domain: OWN_DOMAIN,
      expr: call('add', [input(0), call('mul', [input(1), input(1)])]),
    },
  );
  const shape = broadcastShapes([a, b], 'test');
  const expected = Float64Array.from(
    { length: sizeOf(shape) },
    (_, i) => at(x, shape, i) + at(y, shape, i) ** 2,
  );
  for (const precision of ['f32', 'packed-f16'] as const) {
    const { outputs } = await runGraph(graph, [sum!], { engine: engine(), precision });
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(1e-6);
  }
});

test('quotients are rounded once', async () => {
  const [numerators, denominators] = [random(4096, 3), random(4096, 4)].map((data) =>
    Float32Array.from(data),
  );
  // Halfway between whole numbers, where whoever rounds next goes by the last bit.
  for (let i = 0; i < 2048; i++) numerators![i] = ((i % 256) + 0.5) * denominators![i]!;
  const shape = [4096];
  const graph = new TestGraph();
  const [quotient] = graph.node(
    'Elementwise',
    [
      graph.input('x', { shape, data: Float64Array.from(numerators!) }),
      graph.input('y', { shape, data: Float64Array.from(denominators!) }),
    ],
    {},
    { domain: OWN_DOMAIN, expr: call('quotient', [input(0), input(1)]) },
  );
  const { outputs } = await runGraph(graph, [quotient!], { engine: engine() });
  expect(Float32Array.from(outputs[0]!.data)).toEqual(numerators!.map((x, i) => x / denominators![i]!));
});

function at(tensor: { shape: number[]; data: Float64Array }, shape: readonly number[], flat: number): number {
  const strides = stridesOf(shape);
  const own = stridesOf(tensor.shape);
  let index = 0;
  tensor.shape.forEach((dim, axis) => {
    const outer = axis + shape.length - tensor.shape.length;
    if (dim !== 1) index += (Math.floor(flat / strides[outer]!) % shape[outer]!) * own[axis]!;
  });
  return tensor.data[index]!;
}
