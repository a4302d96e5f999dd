import { beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../../../test/engine.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import type { Engine } from '../../gpu/engine.ts';
import { call, input } from '../../graph/expr.ts';
import { OWN_DOMAIN, type Value } from '../../graph/graph.ts';
import { sizeOf } from '../../tensor/shape.ts';

let engine: Engine;
beforeAll(async () => void (engine = await pageEngine()));
// Nothing is computed in nearest mode; f16 keeps 11 bits.
const tolerance = { f32: 1e-6, 'packed-f16': 1e-3 } as const;

/** [N, C, H, W] stored channels-last: written as [N, H, W, C] by a dispatch, then viewed. */
function image(graph: TestGraph, shape: readonly number[], data: Float64Array): Value {
  const [batch, channels, height, width] = shape as [number, number, number, number];
  const last = new Float64Array(data.length);
  data.forEach((v, i) => {
    const [x, y] = [i % width, Math.floor(i / width) % height];
    const [c, n] = [Math.floor(i / width / height) % channels, Math.floor(i / width / height / channels)];
    last[((n * height + y) * width + x) * channels + c] = v;
  });
  const x = graph.input('x', { shape: [batch, height, width, channels], data: last });
  const [stored] = graph.node('Elementwise', [x], {}, { domain: OWN_DOMAIN, expr: input(0) });
  return graph.node('Transpose', [stored], { perm: [0, 3, 1, 2] })[0]!;
}

describe.each(['f32', 'packed-f16'] as const)('resize in %s', (precision) => {
  test.each([
    { name: 'channels-last', shape: [2, 8, 3, 5], copies: 0 },
    { name: 'channels-last, odd channels', shape: [1, 3, 4, 4], copies: 0 },
  ])('repeats pixels: $name', async ({ shape }) => {
    const [, channels, height, width] = shape as [number, number, number, number];
    const data = random(sizeOf(shape), 1);
    const graph = new TestGraph();
    const x = image(graph, shape, data);
    const scales = graph.constant([1, 1, 2, 3], [4]);
    const [y] = graph.node(
      'Resize',
      [x, undefined, scales],
      { mode: 'nearest', nearest_mode: 'floor', coordinate_transformation_mode: 'asymmetric' },
      {
        epilogue: { expr: call('add', [input(0), input(1)]), inputs: [graph.constant([1], [])] },
      },
    );
    const { outputs, plan } = await runGraph(graph, [y!], { engine, precision });
    const expected = Float64Array.from({ length: data.length * 6 }, (_, i) => {
      const [ox, oy] = [i % (3 * width), Math.floor(i / (3 * width)) % (2 * height)];
      const image = Math.floor(i / (6 * width * height));
      return data[(image * height + Math.floor(oy / 2)) * width + Math.floor(ox / 3)]! + 1;
    });
    expect(y!.shape).toEqual([shape[0], channels, 2 * height, 3 * width]);
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance[precision]);
    const names = plan.steps.map((step) => (step.kind === 'dispatch' ? step.kernel.name : 'island'));
    // The operand as it lies, then one copy into the row-major graph output.
    expect(names.slice(1)).toEqual(['resize_nearest', expect.stringMatching(/^copy/)]);
  });

  test('blends pixels in channels-last memory', async () => {
    const data = random(4 * 3 * 3, 2);
    const graph = new TestGraph();
    const x = image(graph, [1, 4, 3, 3], data);
    const sizes = graph.constant([1, 4, 6, 6], [4], 'int64');
    const [y] = graph.node('Resize', [x, undefined, undefined, sizes], { mode: 'linear' });
    const { outputs } = await runGraph(graph, [y!], { engine, precision });
    const expected = Float64Array.from({ length: 4 * 36 }, (_, i) => {
      const channel = Math.floor(i / 36);
      const at = (row: number, column: number): number => {
        const clamp = (k: number): number => Math.min(Math.max(k, 0), 2);
        return data[channel * 9 + clamp(row) * 3 + clamp(column)]!;
      };
      const [v, u] = [((Math.floor(i / 6) % 6) + 0.5) / 2 - 0.5, ((i % 6) + 0.5) / 2 - 0.5];
      const [row, column] = [Math.floor(v), Math.floor(u)];
      const [b, a] = [v - row, u - column];
      return (
        (1 - b) * ((1 - a) * at(row, column) + a * at(row, column + 1)) +
        b * ((1 - a) * at(row + 1, column) + a * at(row + 1, column + 1))
      );
    });
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance[precision]);
  });
});

test('resizes axis after axis where windows are wide', async () => {
  const data = random(32 * 32, 3);
  const graph = new TestGraph();
  const x = graph.input('x', { shape: [1, 1, 32, 32], data });
  const sizes = graph.constant([1, 1, 4, 4], [4], 'int64');
  const [y] = graph.node('Resize', [x, undefined, undefined, sizes], { mode: 'linear', antialias: 1 });
  const { outputs, plan } = await runGraph(graph, [y!], { engine });
  expect(plan.steps).toHaveLength(2);
  // Triangles of 16 elements around each centre, cut at the edges.
  const weights = (k: number): number[] => {
    const raw = Array.from({ length: 32 }, (_, i) => Math.max(0, 1 - Math.abs((i + 0.5) / 8 - (k + 0.5))));
    const edge = k === 0 ? [0, 0] : k === 3 ? [31, 31] : undefined;
    if (edge) for (let i = 1; i <= 4; i++) raw[edge[0]!]! += Math.max(0, 1 - (3.5 + i) / 8);
    const sum = raw.reduce((a, b) => a + b, 0);
    return raw.map((w) => w / sum);
  };
  const expected = Float64Array.from({ length: 16 }, (_, i) => {
    const [rows, columns] = [weights(Math.floor(i / 4)), weights(i % 4)];
    return data.reduce((sum, v, k) => sum + v * rows[Math.floor(k / 32)]! * columns[k % 32]!, 0);
  });
  expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance.f32);
});
