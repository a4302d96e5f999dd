import { describe, expect, test } from 'vitest';
import { byTurns, openEngine } from '../../../test/engine.ts';
import { convReference, convTransposeReference } from '../../../test/reference/conv.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import { smallFmaTile, smallMatrixTile } from '../../../test/small-tiles.ts';
import type { GemmChoice } from '../gemm/choose.ts';
import { call, input } from '../../graph/expr.ts';
import { sizeOf, type Shape } from '../../tensor/shape.ts';

const engine = openEngine();

/** Sums of K products in f32; operands rounded to f16 in the other case. */
const tolerances = { f32: 2e-6, 'packed-f16': 1e-3 } as const;

interface Case {
  name: string;
  x: Shape;
  w: Shape;
  strides?: number[];
  dilations?: number[];
  pads?: number[];
  group?: number;
  autoPad?: 'SAME_UPPER' | 'SAME_LOWER' | 'VALID';
  /** Expected output size, stated where padding is automatic. */
  spatial?: number[];
  upsample?: number;
  outputPadding?: number[];
  /** The image comes from a convolution before it, channels-last. */
  channelsLast?: boolean;
}

const convCases: Case[] = [
  { name: '3x3, channels a multiple of the tile', x: [2, 32, 9, 7], w: [24, 32, 3, 3], pads: [1, 1, 1, 1] },
  { name: '3x3, channels in fours', x: [1, 20, 8, 6], w: [12, 20, 3, 3], pads: [1, 1, 1, 1] },
  { name: '3x3 from 4 channels, row-major', x: [1, 4, 9, 7], w: [16, 4, 3, 3], pads: [1, 1, 1, 1] },
  { name: '3x3 from 9 channels', x: [2, 9, 6, 7], w: [16, 9, 3, 3], pads: [1, 1, 1, 1] },
  { name: '3x3 from 3 to 3 channels', x: [1, 3, 9, 10], w: [3, 3, 3, 3], pads: [1, 1, 1, 1] },
  { name: 'to one channel', x: [1, 32, 6, 7], w: [1, 32, 3, 3], pads: [1, 1, 1, 1] },
  { name: '1x1', x: [2, 32, 5, 6], w: [24, 32, 1, 1] },
  { name: '1x1 with stride', x: [2, 32, 5, 6], w: [24, 32, 1, 1], strides: [2, 2] },
  {
    name: 'stride 2, asymmetric pads',
    x: [1, 32, 9, 8],
    w: [16, 32, 3, 3],
    strides: [2, 2],
    pads: [0, 0, 1, 1],
  },
  {
    name: 'stride and dilation differ by axis',
    x: [1, 8, 13, 11],
    w: [8, 8, 3, 2],
    strides: [1, 3],
    dilations: [3, 2],
    pads: [2, 0, 1, 3],
  },
  {
    name: 'SAME_UPPER',
    x: [1, 8, 7, 8],
    w: [8, 8, 4, 3],
    strides: [2, 2],
    autoPad: 'SAME_UPPER',
    pads: [1, 0],
    spatial: [4, 4],
  },
  {
    name: 'SAME_LOWER',
    x: [1, 8, 7, 8],
    w: [8, 8, 4, 3],
    strides: [2, 2],
    autoPad: 'SAME_LOWER',
    pads: [2, 1],
    spatial: [4, 4],
  },
  { name: 'VALID', x: [1, 8, 7, 8], w: [8, 8, 4, 3], autoPad: 'VALID', spatial: [4, 6] },
  { name: 'one dimension', x: [2, 12, 17], w: [16, 12, 5], strides: [2], pads: [2, 1] },
  { name: 'three dimensions', x: [1, 8, 4, 5, 6], w: [12, 8, 2, 3, 3], pads: [1, 1, 1, 0, 1, 1] },
  { name: 'depthwise', x: [2, 12, 7, 6], w: [12, 1, 3, 3], group: 12, pads: [1, 1, 1, 1] },
  { name: 'depthwise, odd channels', x: [2, 7, 7, 6], w: [7, 1, 3, 3], group: 7, pads: [1, 1, 1, 1] },
  {
    name: 'depthwise, one dimension, dilation',
    x: [1, 8, 15],
    w: [8, 1, 4],
    group: 8,
    dilations: [3],
    pads: [9, 0],
  },
  { name: 'groups of eight channels', x: [2, 24, 6, 5], w: [24, 8, 3, 3], group: 3, pads: [1, 1, 1, 1] },
  { name: 'groups of odd channels', x: [1, 9, 6, 5], w: [6, 3, 3, 3], group: 3, pads: [1, 1, 1, 1] },
  { name: '1x1 in groups', x: [1, 32, 6, 5], w: [16, 16, 1, 1], group: 2 },
  { name: 'nearest upsampling first', x: [2, 16, 5, 4], w: [8, 16, 3, 3], pads: [1, 1, 1, 1], upsample: 2 },
  {
    name: 'nearest upsampling first, as four convolutions',
    x: [2, 16, 12, 11],
    w: [8, 16, 3, 3],
    pads: [1, 1, 1, 1],
    upsample: 2,
  },
  { name: 'channels-last input', x: [2, 16, 6, 5], w: [8, 16, 3, 3], pads: [1, 1, 1, 1], channelsLast: true },
  {
    name: 'channels-last input, split over depth',
    x: [1, 64, 4, 4],
    w: [8, 64, 3, 3],
    pads: [1, 1, 1, 1],
    channelsLast: true,
  },
  {
    name: 'channels-last depthwise',
    x: [2, 16, 6, 5],
    w: [16, 1, 3, 3],
    pads: [1, 1, 1, 1],
    group: 16,
    channelsLast: true,
  },
];

const transposeCases: Case[] = [
  {
    name: 'kernel 4, stride 2',
    x: [2, 16, 5, 4],
    w: [16, 12, 4, 4],
    strides: [2, 2],
    pads: [1, 1, 1, 1],
    spatial: [10, 8],
  },
  {
    name: 'output padding',
    x: [1, 8, 5, 4],
    w: [8, 12, 3, 3],
    strides: [2, 2],
    pads: [1, 1, 1, 1],
    outputPadding: [1, 1],
    spatial: [10, 8],
  },
  {
    name: 'dilation, stride by axis',
    x: [1, 8, 5, 4],
    w: [8, 4, 3, 2],
    strides: [3, 1],
    dilations: [2, 2],
    spatial: [17, 6],
  },
  { name: 'groups', x: [1, 16, 5, 4], w: [16, 4, 3, 3], group: 2, strides: [2, 2], spatial: [11, 9] },
  { name: 'depthwise', x: [1, 8, 5, 4], w: [8, 1, 3, 3], group: 8, strides: [2, 2], spatial: [11, 9] },
  {
    name: 'groups of odd channels',
    x: [1, 6, 5, 4],
    w: [6, 3, 3, 3],
    group: 2,
    strides: [2, 2],
    spatial: [11, 9],
  },
  { name: 'one dimension', x: [2, 8, 9], w: [8, 16, 4], strides: [4], spatial: [36] },
];

function spatialOf({ x, w, strides, dilations, pads, upsample }: Case): number[] {
  const rank = x.length - 2;
  return Array.from({ length: rank }, (_, d) => {
    const extent = (w[2 + d]! - 1) * (dilations?.[d] ?? 1) + 1;
    const padded = x[2 + d]! * (upsample ?? 1) + (pads?.[d] ?? 0) + (pads?.[d + rank] ?? 0);
    return Math.floor((padded - extent) / (strides?.[d] ?? 1)) + 1;
  });
}

function doubled(image: { shape: Shape; data: Float64Array }): { shape: number[]; data: Float64Array } {
  const [n, c, h, w] = image.shape as [number, number, number, number];
  const shape = [n, c, 2 * h, 2 * w];
  const data = Float64Array.from({ length: sizeOf(shape) }, (_, i) => {
    const [x, y, p] = [i % (2 * w), Math.floor(i / (2 * w)) % (2 * h), Math.floor(i / (4 * w * h))];
    return image.data[(p * h + (y >> 1)) * w + (x >> 1)]!;
  });
  return { shape, data };
}

describe.each(['f32', 'packed-f16'] as const)('%s', (precision) => {
  const check = async (op: 'Conv' | 'ConvTranspose', c: Case, choice?: GemmChoice): Promise<void> => {
    const rank = c.x.length - 2;
    const groups = c.group ?? 1;
    const channels = op === 'Conv' ? c.w[0]! : c.w[1]! * groups;
    const x = { shape: c.x, data: random(sizeOf(c.x), 1) };
    const w = { shape: c.w, data: random(sizeOf(c.w), 2) };
    const bias = { shape: [channels], data: random(channels, 3) };
    const attributes: Record<string, number | string | number[]> = { group: groups };
    if (c.strides) attributes['strides'] = c.strides;
    if (c.dilations) attributes['dilations'] = c.dilations;
    if (c.autoPad) attributes['auto_pad'] = c.autoPad;
    else if (c.pads) attributes['pads'] = c.pads;
    if (c.upsample) attributes['upsample'] = c.upsample;
    if (c.outputPadding) attributes['output_padding'] = c.outputPadding;
    const graph = new TestGraph();
    let image = graph.input('x', x);
    if (c.channelsLast) {
      // The identity as a 1x1 convolution leaves its result channels-last.
      const size = c.x[1]!;
      const identity = Float64Array.from({ length: size * size }, (_, i) => Number(i % (size + 1) === 0));
      [image] = graph.node('Conv', [
        image,
        graph.weight('i', { shape: [size, size, 1, 1], data: identity }),
      ]) as [typeof image];
    }
    const residual = { shape: [1, channels, ...Array<number>(rank).fill(1)], data: random(channels, 4) };
    const y = graph.node(op, [image, graph.weight('w', w), graph.weight('b', bias)], attributes, {
      epilogue: {
        expr: call('mul', [call('sigmoid', [input(0)]), input(1)]),
        inputs: [graph.weight('s', residual)],
      },
    });
    const { outputs } = await runGraph(graph, y, {
      engine: engine(),
      precision,
      // The identity before it is no 3x3.
      tuning: {
        gemm: ({ a }, rule) => (choice?.kind === 'winograd' && a.kind === 'dense' ? rule : (choice ?? rule)),
      },
    });
    const spatial = c.spatial ?? spatialOf(c);
    expect(outputs[0]!.shape).toEqual([c.x[0], channels, ...spatial]);
    const reference = op === 'Conv' ? convReference : convTransposeReference;
    const ones = Array<number>(rank).fill(1);
    const linear = reference(c.upsample ? doubled(x) : x, w, spatial, {
      strides: c.strides ?? ones,
      dilations: c.dilations ?? ones,
      pads: c.pads ?? Array<number>(rank).fill(0),
      groups,
      bias: bias.data,
    });
    const pixels = sizeOf(spatial);
    const expected = linear.map(
      (v, i) => residual.data[Math.floor(i / pixels) % channels]! / (1 + Math.exp(-v)),
    );
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerances[precision]);
  };
  test.each(byTurns(precision, convCases))('Conv: $name', (c) => check('Conv', c));
  test.each(byTurns(precision, transposeCases))('ConvTranspose: $name', (c) => check('ConvTranspose', c));

  // Software adapters choose another back end than GPUs: these are what those run.
  const fma: GemmChoice = { kind: 'fma', tile: smallFmaTile, slices: 1 };
  const tiled = convCases.filter(({ name }) =>
    /multiple of the tile|in fours|from 9 channels|of eight channels|upsampling|channels-last input$/.test(
      name,
    ),
  );
  test.each(byTurns(precision, tiled))('Conv in tiles: $name', (c) => check('Conv', c, fma));
  const large = { threadRows: 8, threadColumns: 8, lanes: 4, rowLanes: 1 };
  const inLarge = convCases.filter(({ name }) => /multiple of the tile|four convolutions/.test(name));
  test.each(byTurns(precision, inLarge))('Conv in large direct tiles: $name', (c) =>
    check('Conv', c, { kind: 'direct', tile: large }),
  );
  const patches: (Case & { slices?: number })[] = [
    { name: 'odd sizes', x: [2, 20, 9, 7], w: [24, 20, 3, 3], pads: [1, 1, 1, 1] },
    { name: 'pads that differ', x: [1, 32, 8, 6], w: [12, 32, 3, 3], pads: [2, 0, 1, 2] },
    { name: 'depth split', x: [1, 80, 6, 6], w: [8, 80, 3, 3], pads: [1, 1, 1, 1], slices: 3 },
  ];
  test.each(byTurns(precision, patches))('Conv by Winograd: $name', ({ slices = 1, ...c }) =>
    check('Conv', { ...c, channelsLast: true }, { kind: 'winograd', tile: smallFmaTile, slices }),
  );
  if (precision === 'f32') {
    test('ConvTranspose in tiles', () => check('ConvTranspose', transposeCases[0]!, fma));
  } else {
    test.each(tiled)('Conv on emulated matrices: $name', (c) =>
      check('Conv', c, { kind: 'matrix', tile: smallMatrixTile('kn'), slices: 1, emulated: true }),
    );
  }
});
