import { expect, test } from 'vitest';
import { openEngine } from '../../../test/engine.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import { call, input } from '../../graph/expr.ts';
import { OWN_DOMAIN } from '../../graph/graph.ts';

const engine = openEngine();
const [batch, channels, height, width] = [2, 4, 5, 6];

/** Bilinear with zeros outside, pixel centres at (2k + 1) / size - 1. */
function reference(x: Float64Array, grid: Float64Array, points: number): Float64Array {
  return Float64Array.from({ length: batch * channels * points }, (_, i) => {
    const [point, c] = [i % points, Math.floor(i / points) % channels];
    const n = Math.floor(i / points / channels);
    const place = (k: number, size: number): number =>
      ((grid[2 * (n * points + point) + k]! + 1) * size - 1) / 2;
    const [u, v] = [place(0, width), place(1, height)];
    let sum = 0;
    for (const row of [Math.floor(v), Math.floor(v) + 1]) {
      for (const column of [Math.floor(u), Math.floor(u) + 1]) {
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        const weight = (1 - Math.abs(v - row)) * (1 - Math.abs(u - column));
        sum += weight * x[((n * channels + c) * height + row) * width + column]!;
      }
    }
    return sum;
  });
}

test.each(['f32', 'packed-f16'] as const)(
  'samples channels-last and row-major pictures alike, %s',
  async (precision) => {
    const data = random(batch * channels * height * width, 1);
    // Some places lie outside of the picture.
    const grid = random(batch * 3 * 7 * 2, 2).map((v) => 1.2 * v);
    const last = new Float64Array(data.length);
    data.forEach((v, i) => {
      const pixel = i % (height * width);
      const plane = Math.floor(i / height / width);
      last[(Math.floor(plane / channels) * height * width + pixel) * channels + (plane % channels)] = v;
    });
    const graph = new TestGraph();
    const places = graph.input('grid', { shape: [batch, 3, 7, 2], data: grid });
    const rows = graph.input('x', { shape: [batch, channels, height, width], data });
    const pixels = graph.input('x_last', { shape: [batch, height, width, channels], data: last });
    const [stored] = graph.node('Elementwise', [pixels], {}, { domain: OWN_DOMAIN, expr: input(0) });
    const [picture] = graph.node('Transpose', [stored], { perm: [0, 3, 1, 2] });
    const twice = { expr: call('mul', [input(0), input(1)]), inputs: [graph.constant([2], [])] };
    const outputs = [
      ...graph.node('GridSample', [rows, places], { mode: 'linear' }),
      ...graph.node('GridSample', [picture, places], { mode: 'linear' }, { epilogue: twice }),
    ];
    const { outputs: results } = await runGraph(graph, outputs, { engine: engine(), precision });
    const expected = reference(data, grid, 21);
    // Weights are differences of f32 coordinates; f16 keeps 11 bits of the picture and the result.
    const tolerance = precision === 'f32' ? 1e-5 : 1e-3;
    expect(relativeL2(results[0]!.data, expected)).toBeLessThan(tolerance);
    expect(
      relativeL2(
        results[1]!.data,
        expected.map((v) => 2 * v),
      ),
    ).toBeLessThan(tolerance);
  },
);
