import { describe, expect, test } from 'vitest';
import { openEngine } from '../../../test/engine.ts';
import { convReference } from '../../../test/reference/conv.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import { call, input } from '../../graph/expr.ts';
import { OWN_DOMAIN, type Value } from '../../graph/graph.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { MatrixTile } from './matrix-layout.ts';

const engine = openEngine();
const own = { domain: OWN_DOMAIN };

const tile = (sizes: Partial<MatrixTile> = {}): MatrixTile => ({
  tileRows: 32,
  tileColumns: 32,
  tileDepth: 16,
  subgroupRows: 16,
  subgroupColumns: 16,
  layout: 'kn',
  halo: true,
  ...sizes,
});

interface Case {
  name: string;
  tile?: MatrixTile;
  slices?: number;
  images?: number;
  /** Channels; of several tensors that are joined. */
  channels?: number[];
  columns?: number;
  size: [number, number];
  upsample?: 2;
  weights?: 'int8' | 'int4';
}

/** Convolutions of 3x3 whose tiles come with their halo, on emulated matrices. */
describe('pieces of images with their halo', () => {
  const deep = tile({ tileDepth: 32 });
  const cases: Case[] = [
    { name: 'whole pieces', size: [8, 16] },
    { name: 'an image that ends inside a piece', size: [7, 19], columns: 24 },
    { name: 'smaller than a piece', size: [2, 3] },
    { name: 'two images', images: 2, size: [5, 17] },
    {
      name: 'several matrices a subgroup',
      size: [8, 20],
      tile: tile({ subgroupRows: 32 }),
    },
    {
      name: 'weights along the depth',
      channels: [64],
      size: [6, 20],
      tile: tile({ tileDepth: 32, layout: 'nk' }),
    },
    {
      name: 'channels of two tensors, depth in slices of unlike length',
      channels: [48, 32],
      size: [5, 17],
      slices: 3,
    },
    { name: 'an image that is doubled, deep tiles', channels: [64], size: [17, 18], upsample: 2, tile: deep },
    {
      name: 'integers of 8 bits',
      channels: [64],
      size: [5, 17],
      weights: 'int8',
      tile: deep,
    },
    {
      name: 'integers of 4 bits, in slices',
      channels: [64],
      size: [5, 17],
      weights: 'int4',
      tile: deep,
      slices: 2,
    },
  ];
  test.each(cases)('$name', async (c) => {
    const { images = 1, channels = [32], columns = 32, size, upsample = 1, slices = 1 } = c;
    const graph = new TestGraph();
    const parts = channels.map((count, k) => {
      const lies = { shape: [images, ...size, count], data: random(images * sizeOf(size) * count, k + 1) };
      const [turned] = graph.node('Transpose', [graph.input(`x${k}`, lies)], { perm: [0, 3, 1, 2] });
      // Through an operator, so that it is stored in f16.
      const [value] = graph.node('Elementwise', [turned], {}, { ...own, expr: call('neg', [input(0)]) });
      return { value: value!, lies };
    });
    const depth = channels.reduce((sum, count) => sum + count, 0);
    const [image] =
      parts.length === 1
        ? [parts[0]!.value]
        : graph.node(
            'Concat',
            parts.map(({ value }): Value => value),
            { axis: 1 },
          );
    const w = { shape: [columns, depth, 3, 3], data: random(columns * depth * 9, 9) };
    const large = size.map((length) => length * upsample) as [number, number];
    const residual = {
      shape: [images, columns, ...large],
      data: random(images * columns * sizeOf(large), 10),
    };
    const conv = graph.node(
      'Conv',
      [image, graph.weight('w', w)],
      { pads: [1, 1, 1, 1], ...(upsample > 1 && { upsample }) },
      { epilogue: { expr: call('add', [input(0), input(1)]), inputs: [graph.input('r', residual)] } },
    );
    const { outputs, plan } = await runGraph(graph, conv, {
      engine: engine(),
      precision: 'packed-f16',
      ...(c.weights && { weights: c.weights, quantizable: new Set(graph.graph.nodes) }),
      tuning: {
        gemm: () => ({ kind: 'matrix', tile: c.tile ?? tile(), slices, emulated: true }),
      },
    });
    const kernels = plan.steps
      .map((step) => (step.kind === 'dispatch' ? step.kernel.name : step.label))
      .join();
    expect(kernels).toMatch(c.weights ? /matrix_halo.*_q[48]/ : /matrix_halo/);
    const x = new Float64Array(images * depth * sizeOf(large));
    let first = 0;
    for (const { lies } of parts) {
      const count = lies.shape[3]!;
      for (let i = 0; i < images; i++)
        for (let ch = 0; ch < count; ch++)
          for (let y = 0; y < large[0]; y++)
            for (let at = 0; at < large[1]; at++) {
              const pixel = (i * size[0] + Math.floor(y / upsample)) * size[1] + Math.floor(at / upsample);
              x[((i * depth + first + ch) * large[0] + y) * large[1] + at] = -lies.data[pixel * count + ch]!;
            }
      first += count;
    }
    const linear = convReference({ shape: [images, depth, ...large], data: x }, w, large, {
      strides: [1, 1],
      dilations: [1, 1],
      pads: [1, 1, 1, 1],
      groups: 1,
    });
    const expected = linear.map((v, i) => v + residual.data[i]!);
    const tolerance = c.weights === 'int4' ? 0.12 : c.weights === 'int8' ? 8e-3 : 1e-3;
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance);
  });
});
