import { beforeAll, expect, test } from 'vitest';
import { pageEngine } from '../../../test/engine.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import type { Engine } from '../../gpu/engine.ts';
import { call, input } from '../../graph/expr.ts';
import { OWN_DOMAIN } from '../../graph/graph.ts';
import { sizeOf } from '../../tensor/shape.ts';

let engine: Engine;
beforeAll(async () => void (engine = await pageEngine()));
const own = { domain: OWN_DOMAIN };
const [batch, channels, height, width] = [2, 8, 7, 5];
/** Written as [N, H, W, C] and seen as [N, C, H, W]: channels-last. */
const last = random(batch * channels * height * width, 1);
const at = (n: number, c: number, y: number, x: number): number =>
  last[((n * height + y) * width + x) * channels + c]!;

// Windows of 3×3, stride 2, one element of padding on each side.
function windowed(reduce: (values: number[]) => number): Float64Array {
  const shape = [batch, channels, 4, 3];
  return Float64Array.from({ length: sizeOf(shape) }, (_, i) => {
    const [n, c] = [Math.floor(i / 12 / channels), Math.floor(i / 12) % channels];
    const [top, left] = [2 * (Math.floor(i / 3) % 4) - 1, 2 * (i % 3) - 1];
    const values: number[] = [];
    for (let y = Math.max(top, 0); y < Math.min(top + 3, height); y++) {
      for (let x = Math.max(left, 0); x < Math.min(left + 3, width); x++) values.push(at(n, c, y, x));
    }
    return reduce(values);
  });
}

test.each(['f32', 'packed-f16'] as const)('pools channels-last memory in vec4s, %s', async (precision) => {
  const graph = new TestGraph();
  const x = graph.input('x', { shape: [batch, height, width, channels], data: last });
  const [stored] = graph.node('Elementwise', [x], {}, { ...own, expr: input(0) });
  const [image] = graph.node('Transpose', [stored], { perm: [0, 3, 1, 2] });
  const attributes = { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] };
  const twice = { expr: call('mul', [input(0), input(1)]), inputs: [graph.constant([2], [])] };
  const outputs = [
    ...graph.node('MaxPool', [image], attributes, { outputs: 2 }),
    ...graph.node('AveragePool', [image], attributes, { epilogue: twice }),
    ...graph.node('AveragePool', [image], { ...attributes, count_include_pad: 1 }),
    ...graph.node('LpPool', [image], { ...attributes, p: 2 }),
  ];
  const results = await runGraph(graph, outputs, { engine, precision });
  const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
  const expected = [
    windowed((values) => Math.max(...values)),
    undefined,
    windowed((values) => (2 * sum(values)) / values.length),
    windowed((values) => sum(values) / 9),
    windowed((values) => Math.hypot(...values)),
  ];
  // Sums of nine numbers; f16 keeps 11 bits.
  const tolerance = precision === 'f32' ? 1e-6 : 1e-3;
  expected.forEach((values, k) => {
    if (values) expect(relativeL2(results.outputs[k]!.data, values)).toBeLessThan(tolerance);
  });
  const found = results.outputs[1]!.data.map((index) => {
    const [x0, y0] = [index % width, Math.floor(index / width) % height];
    const [c, n] = [
      Math.floor(index / width / height) % channels,
      Math.floor(index / width / height / channels),
    ];
    return at(n, c, y0, x0);
  });
  expect(relativeL2(found, expected[0]!)).toBeLessThan(tolerance);
});
