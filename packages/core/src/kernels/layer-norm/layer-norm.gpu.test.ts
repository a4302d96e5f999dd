import { describe, expect, test } from 'vitest';
import { byTurns, openEngine } from '../../../test/engine.ts';
import { normalizeRows } from '../../../test/reference/normalization.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import { call, input } from '../../graph/expr.ts';
import { OWN_DOMAIN } from '../../graph/graph.ts';
import { sizeOf } from '../../tensor/shape.ts';

const engine = openEngine();

// f32 keeps 24 bits and the sums are balanced; f16 keeps 11.
const tolerance = { f32: 2e-6, 'packed-f16': 1e-3 } as const;
const stored = { domain: OWN_DOMAIN, expr: input(0) };

const cases = [
  { name: 'a few columns', shape: [5, 8], axis: -1 },
  { name: 'odd columns', shape: [3, 7], axis: -1 },
  { name: 'one column', shape: [4, 1], axis: 1 },
  { name: 'several rows a workgroup', shape: [2, 77, 64], axis: -1 },
  { name: 'no whole vec4 of lanes', shape: [9, 320], axis: -1 },
  { name: 'a workgroup a row', shape: [3, 5120], axis: -1 },
  { name: 'rows beyond registers', shape: [2, 9000], axis: -1 },
  { name: 'odd rows beyond registers', shape: [1, 9001], axis: -1 },
  { name: 'several axes', shape: [2, 3, 5, 4], axis: 1 },
  { name: 'all axes', shape: [3, 2, 6], axis: 0 },
];

describe.each(['f32', 'packed-f16'] as const)('layer_norm in %s', (precision) => {
  test.each(byTurns(precision, cases))('$name', async ({ shape, axis }) => {
    const row = shape.slice(axis);
    const length = sizeOf(row);
    const data = random(sizeOf(shape), 1).map((v) => Math.fround(3 * v + 5));
    const [scale, bias] = [random(length, 2), random(length, 3)];
    const graph = new TestGraph();
    const [x] = graph.node('Elementwise', [graph.input('x', { shape, data })], {}, stored);
    const affine = [
      graph.weight('scale', { shape: row, data: scale }),
      graph.weight('bias', { shape: row, data: bias }),
    ];
    const residual = random(sizeOf(shape), 4);
    const outputs = [
      ...graph.node('LayerNormalization', [x, ...affine], { axis }, { outputs: 3 }),
      ...graph.node('RMSNormalization', [x, affine[0]], { axis, epsilon: 0.5 }),
      ...graph.node(
        'LayerNormalization',
        [x, affine[0]],
        { axis },
        {
          epilogue: {
            expr: call('mul', [input(0), input(1)]),
            inputs: [graph.input('residual', { shape, data: residual })],
          },
        },
      ),
    ];
    const results = await runGraph(graph, outputs, { engine: engine(), precision });
    const layer = normalizeRows(data, length, 1e-5);
    const rms = normalizeRows(data, length, 0.5, false);
    const expected = [
      layer.y.map((v, i) => v * scale[i % length]! + bias[i % length]!),
      layer.mean,
      layer.inverseDeviation,
      rms.y.map((v, i) => v * scale[i % length]!),
      layer.y.map((v, i) => v * scale[i % length]! * residual[i]!),
    ];
    const errors = expected.map((values, k) => relativeL2(results.outputs[k]!.data, values));
    // Of a single column only rounding is left after the mean; its deviation is epsilon's.
    if (length > 1) for (const error of errors) expect(error).toBeLessThan(tolerance[precision]);
    else expect(results.outputs[0]!.data).toEqual(Float64Array.from(data, () => bias[0]!));
  });

  test('walks transposed operands without a copy', async () => {
    const [batch, heads, tokens, size] = [2, 3, 5, 8];
    const data = random(batch * heads * tokens * size, 5);
    const scale = random(size, 6);
    const graph = new TestGraph();
    const shape = [batch, tokens, heads, size];
    const [x] = graph.node('Elementwise', [graph.input('x', { shape, data })], {}, stored);
    const [transposed] = graph.node('Transpose', [x], { perm: [0, 2, 1, 3] });
    const [normal] = graph.node(
      'RMSNormalization',
      [transposed, graph.weight('s', { shape: [size], data: scale })],
      {},
    );
    const [back] = graph.node('Transpose', [normal], { perm: [0, 2, 1, 3] });
    const { outputs, plan } = await runGraph(graph, [back!], { engine: engine(), precision });
    const { y } = normalizeRows(data, size, 1e-5, false);
    const expected = y.map((v, i) => v * scale[i % size]!);
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance[precision]);
    const names = plan.steps.map((step) => (step.kind === 'dispatch' ? step.kernel.name : 'island'));
    expect(names.slice(0, 2)).toEqual([expect.stringMatching(/^elementwise/), 'rms_norm']);
    // packed-f16 converts at the graph's end.
    expect(names.length).toBeLessThanOrEqual(3);
  });

  test('broadcasts a scale over rows', async () => {
    const data = random(4 * 6 * 8, 7);
    const scale = random(6, 8);
    const graph = new TestGraph();
    const [y] = graph.node('LayerNormalization', [
      graph.input('x', { shape: [4, 6, 8], data }),
      graph.weight('scale', { shape: [6, 1], data: scale }),
    ]);
    const { outputs } = await runGraph(graph, [y!], { engine: engine(), precision });
    const expected = normalizeRows(data, 8, 1e-5).y.map((v, i) => v * scale[Math.floor(i / 8) % 6]!);
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance[precision]);
  });

  test('normalizes instances of row-major memory as rows', async () => {
    for (const shape of [
      [2, 3, 4, 4],
      [2, 3, 5],
    ]) {
      const length = sizeOf(shape.slice(2));
      const data = random(sizeOf(shape), 9);
      const [scale, bias] = [random(3, 10), random(3, 11)];
      const graph = new TestGraph();
      const [y] = graph.node('InstanceNormalization', [
        graph.input('x', { shape, data }),
        graph.weight('scale', { shape: [3], data: scale }),
        graph.weight('bias', { shape: [3], data: bias }),
      ]);
      const { outputs, plan } = await runGraph(graph, [y!], { engine: engine(), precision });
      const channel = (i: number): number => Math.floor(i / length) % 3;
      const expected = normalizeRows(data, length, 1e-5).y.map(
        (v, i) => v * scale[channel(i)]! + bias[channel(i)]!,
      );
      expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance[precision]);
      expect(plan.steps[0]).toMatchObject({ kernel: { name: 'layer_norm' } });
    }
  });
});
