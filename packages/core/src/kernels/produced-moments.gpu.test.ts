import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { convReference } from '../../test/reference/conv.ts';
import { groupNorm } from '../../test/reference/normalization.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../test/run-graph.ts';
import { Engine } from '../gpu/engine.ts';
import { call, input } from '../graph/expr.ts';
import { OWN_DOMAIN } from '../graph/graph.ts';
import type { Plan } from '../plan/plan.ts';
import { sizeOf, type Shape } from '../tensor/shape.ts';
import type { MatrixTile } from './gemm/matrix-layout.ts';

// GroupNorms whose statistics come from the convolution before them, on emulated matrices.

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.create({ precision: 'packed-f16' });
});
afterAll(() => engine.dispose());

const own = { domain: OWN_DOMAIN };
const tile: MatrixTile = {
  tileRows: 32,
  tileColumns: 32,
  tileDepth: 32,
  subgroupRows: 16,
  subgroupColumns: 16,
  layout: 'nk',
};

const pieces: MatrixTile = {
  tileRows: 32,
  tileColumns: 32,
  tileDepth: 16,
  subgroupRows: 16,
  subgroupColumns: 32,
  layout: 'kn',
  halo: true,
};

interface Case {
  name: string;
  x: Shape;
  channels: number;
  groups: number;
  upsample?: number;
  tile?: MatrixTile;
  /** Mean of the convolution's results: the end of f16's range, where neighbours are 32 apart. */
  mean?: 40000;
  producedMoments?: boolean;
}

const kernels = ({ steps }: Plan): string =>
  steps.map((step) => (step.kind === 'dispatch' ? step.kernel.name : step.label)).join();

/** Values between -1 and 1 that f16 holds. */
const rounded = (count: number, seed: number, grain: number): Float64Array =>
  random(count, seed).map((v) => Math.round(v / grain) * grain);

async function run(c: Case): Promise<{ difference: number; kernels: string }> {
  const { x: shape, channels, groups, upsample = 1, mean, producedMoments = true } = c;
  const [batch, depth, height, width] = shape as [number, number, number, number];
  // So that all results are multiples of 32, where they have to be.
  const [grain, factor] = mean === undefined ? [1 / 64, 1] : [1, 32];
  const x = { shape, data: rounded(sizeOf(shape), 1, grain) };
  const kernel = upsample > 1 ? 3 : 1;
  const w = {
    shape: [channels, depth, kernel, kernel],
    data: rounded(channels * depth * kernel ** 2, 2, grain).map((v) => v * factor),
  };
  const shapeAfter = [batch, channels, height * upsample, width * upsample];
  const noise = rounded(sizeOf(shapeAfter), 3, grain);
  const residual = { shape: shapeAfter, data: mean === undefined ? noise : noise.map(() => mean) };
  const graph = new TestGraph();
  const [image] = graph.node(
    'Elementwise',
    [graph.input('x', x)],
    {},
    { ...own, expr: call('neg', [input(0)]) },
  );
  const pads = kernel === 3 ? [1, 1, 1, 1] : [0, 0, 0, 0];
  const [convolved] = graph.node(
    'Conv',
    [image, graph.weight('w', w)],
    { pads, ...(upsample > 1 && { upsample }) },
    { epilogue: { expr: call('add', [input(0), input(1)]), inputs: [graph.input('r', residual)] } },
  );
  const [scale, shift] = [random(channels, 4), random(channels, 5)];
  const [y] = graph.node(
    'GroupNorm',
    [
      convolved,
      graph.weight('scale', { shape: [channels], data: scale }),
      graph.weight('shift', { shape: [channels], data: shift }),
    ],
    { groups, epsilon: 1e-5 },
    own,
  );
  const { outputs, plan } = await runGraph(graph, [y!], {
    engine,
    precision: 'packed-f16',
    adapter: 'test',
    limits: { maxComputeInvocationsPerWorkgroup: 64 },
    tuning: {
      producedMoments,
      gemm: () => ({ kind: 'matrix', tile: c.tile ?? tile, slices: 1, emulated: true }),
    },
  });
  const large = [height * upsample, width * upsample];
  const read = (i: number): number => {
    const [column, row] = [i % large[1]!, Math.floor(i / large[1]!)];
    return -x.data[Math.floor(row / upsample) * width + Math.floor(column / upsample)]!;
  };
  const doubled = Float64Array.from({ length: batch * depth * sizeOf(large) }, (_, i) => read(i));
  const linear = convReference({ shape: [batch, depth, ...large], data: doubled }, w, large, {
    strides: [1, 1],
    dilations: [1, 1],
    pads,
    groups: 1,
  });
  const expected = groupNorm(
    linear.map((v, i) => v + residual.data[i]!),
    residual.shape,
    groups,
    1e-5,
    scale,
    shift,
  );
  return { difference: relativeL2(outputs[0]!.data, expected), kernels: kernels(plan) };
}

describe('moments that a convolution leaves', () => {
  // 64 threads make 2048 vec4s of a group the most that one dispatch normalizes.
  test.each<Case>([
    { name: 'four channels a group', x: [1, 32, 64, 48], channels: 32, groups: 8 },
    { name: 'eight channels a group, two images', x: [2, 32, 40, 32], channels: 48, groups: 6 },
    { name: 'columns beyond the last', x: [1, 32, 64, 48], channels: 40, groups: 5 },
    { name: 'after an upsampling', x: [1, 32, 16, 32], channels: 32, groups: 4, upsample: 2 },
    {
      name: 'subgroups of one row block and several column blocks',
      x: [1, 32, 64, 48],
      channels: 96,
      groups: 8,
      tile: { ...tile, tileRows: 32, subgroupRows: 16, tileColumns: 96, subgroupColumns: 48, layout: 'kn' },
    },
    {
      name: 'pieces of an image with their halo',
      x: [1, 32, 16, 32],
      channels: 32,
      groups: 4,
      upsample: 2,
      tile: pieces,
    },
  ])('$name', async (c) => {
    const found = await run(c);
    expect(found.kernels).toMatch(/_moments,group_norm_merge,group_norm_apply/);
    expect(found.difference).toBeLessThan(1e-3);
  });

  // Sums of their squares would lose 3 % of the variance in f32.
  test('large means keep their variance', async () => {
    const found = await run({ name: '', x: [1, 32, 64, 48], channels: 32, groups: 8, mean: 40000 });
    expect(found.kernels).toMatch(/_moments,group_norm_merge/);
    expect(found.difference).toBeLessThan(1e-3);
  });

  test.each<Case>([
    { name: 'ten channels a group', x: [1, 32, 64, 48], channels: 40, groups: 4 },
    { name: 'rows that end in a tile', x: [1, 32, 61, 48], channels: 32, groups: 8 },
    {
      name: 'pieces that reach beyond the image',
      x: [1, 32, 16, 40],
      channels: 32,
      groups: 4,
      upsample: 2,
      tile: pieces,
    },
    { name: 'an image that fits a workgroup', x: [1, 32, 8, 8], channels: 32, groups: 8 },
    {
      name: 'a tensor that caches hold',
      x: [1, 32, 64, 48],
      channels: 32,
      groups: 8,
      producedMoments: false,
    },
  ])('$name: none', async (c) => {
    const found = await run(c);
    expect(found.kernels).not.toMatch(/moments|merge/);
    expect(found.difference).toBeLessThan(1e-3);
  });
});
