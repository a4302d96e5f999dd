import { describe, expect, test } from 'vitest';
import { byTurns, openEngine } from '../../../test/engine.ts';
import { convReference } from '../../../test/reference/conv.ts';
import { dequantizeReference, scaleShape, type Granularity } from '../../../test/reference/dequantize.ts';
import { matmulReference } from '../../../test/reference/matmul.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import { smallFmaTile, smallMatrixTile } from '../../../test/small-tiles.ts';
import type { Value } from '../../graph/graph.ts';
import { OWN_DOMAIN } from '../../graph/graph.ts';
import type { Plan } from '../../plan/plan.ts';
import { sizeOf, type Shape } from '../../tensor/shape.ts';
import { fmaTiles } from './choose-fma.ts';
import type { GemmChoice } from './choose.ts';

// Weights that stay in integers: every format through every back end, against products in f64.

const engine = openEngine();

const tolerances = { f32: 2e-6, 'packed-f16': 1e-3 } as const;

const ranges = { int4: [-8, 7], uint4: [0, 15], int8: [-128, 127], uint8: [0, 255] } as const;
type Format = keyof typeof ranges;

interface Quantization extends Granularity {
  dtype: Format;
  zero?: boolean;
}

/** A weight in the graph, and what it stands for. */
function quantizedWeight(
  graph: TestGraph,
  shape: Shape,
  { dtype, zero, ...granularity }: Quantization,
): { value: Value; data: Float64Array } {
  const [low, high] = ranges[dtype];
  const integers = (count: number, seed: number): number[] =>
    Array.from(random(count, seed), (x) => low + Math.floor(((x + 1) / 2) * (high - low + 1)));
  const scales = scaleShape(shape, granularity);
  const x = integers(sizeOf(shape), 5);
  const scale = random(sizeOf(scales), 6).map((v) => Math.fround(v / 100));
  const zeros = zero ? integers(sizeOf(scales), 7) : undefined;
  const { axis, block } = granularity;
  const [value] = graph.node(
    'DequantizeLinear',
    [
      graph.weight('w', { dtype, shape, data: x }),
      graph.weight('scale', { shape: scales, data: scale }),
      zeros && graph.weight('zero', { dtype, shape: scales, data: zeros }),
    ],
    { ...(axis !== undefined && { axis }), ...(block !== undefined && { block_size: block }) },
  );
  return { value: value!, data: dequantizeReference(shape, x, scale, zeros, granularity) };
}

/** Nothing in floats, and no more bytes than the integers with their scales. */
function expectIntegers(plan: Plan, bits: number, elements: number): void {
  expect(plan.quantized).toHaveLength(1);
  expect(plan.quantized[0]!.inflated).toBeUndefined();
  const integers = plan.buffers.filter(({ label }) => label.endsWith(':integers'));
  expect(integers).toHaveLength(1);
  expect(integers[0]!.bytes).toBeLessThanOrEqual(Math.max((elements * bits) / 8, 16));
  const floats = plan.buffers.filter(
    ({ label, phase, bytes }) => phase === 'load' && /:packed|DequantizeLinear/.test(label) && bytes > 16,
  );
  expect(floats.map(({ label }) => label)).toEqual([]);
}

const padded = (size: number, step: number): number => Math.ceil(size / step) * step;

const deepMatrix: GemmChoice = {
  kind: 'matrix',
  tile: smallMatrixTile('nk', { tileDepth: 64 }),
  slices: 1,
  emulated: true,
};

const byTheRules = 'chosen by the rules';
const backEnds: Record<string, GemmChoice | undefined> = {
  [byTheRules]: undefined,
  'direct, wide tiles': {
    kind: 'direct',
    tile: { threadRows: 2, threadColumns: 8, lanes: 4, rowLanes: 1 },
  },
  fma: { kind: 'fma', tile: smallFmaTile, slices: 1 },
  gemv: { kind: 'gemv', shape: { lanes: 8, depthLanes: 32 } },
  'matrix kn': { kind: 'matrix', tile: smallMatrixTile('kn'), slices: 1, emulated: true },
  'matrix nk, deep': deepMatrix,
};

const formats: Record<string, Quantization> = {
  'int4 in blocks': { dtype: 'int4', axis: 0, block: 32 },
  'uint4 in blocks of 16, zero points': { dtype: 'uint4', axis: 0, block: 16, zero: true },
  'int8 by channel': { dtype: 'int8', axis: 1 },
  'int8 by channel, zero points': { dtype: 'int8', axis: 1, zero: true },
  'uint8, one scale and zero point': { dtype: 'uint8', zero: true },
  'uint8 in blocks of 128, zero points': { dtype: 'uint8', axis: 0, block: 128, zero: true },
  'uint4 by channel': { dtype: 'uint4', axis: 1 },
};

describe.each(['f32', 'packed-f16'] as const)('products with integers, %s', (precision) => {
  const run = async (graph: TestGraph, y: Value[], choice?: GemmChoice): ReturnType<typeof runGraph> =>
    runGraph(graph, y, {
      engine: engine(),
      precision,
      tuning: { gemm: (_, rule) => choice ?? rule },
    });
  const tolerance = tolerances[precision];

  /** Every second case: the other half of them runs in the other precision, which changes nothing about weights. */
  const isMine = (i: number): boolean => (i % 2 === 0) === (precision === 'f32');
  const cases = Object.entries(formats).flatMap(([format, quantization], i) =>
    Object.entries(backEnds)
      // Each format by the rules, and each back end with two formats; matrices want halves.
      .filter(
        ([name], k) =>
          (name === byTheRules || (i + k) % 3 === 0) &&
          (name.startsWith('matrix') ? precision !== 'f32' : isMine(i + k)),
      )
      .map(([name, choice]) => [format, name, quantization, choice] as const),
  );
  test.each(cases)('%s: %s', async (_, name, quantization, choice) => {
    const rows = name === 'gemv' ? 3 : 34;
    const a = { shape: [rows, 160], data: random(rows * 160, 1) };
    const graph = new TestGraph();
    const w = quantizedWeight(graph, [160, 44], quantization);
    const [first] = graph.node('Add', [graph.input('a', a), graph.constant([0], [])]);
    const { outputs, plan } = await run(graph, graph.node('MatMul', [first, w.value]), choice);
    const expected = matmulReference(a, { shape: [160, 44], data: w.data });
    expect(relativeL2(outputs[0]!.data, expected.data)).toBeLessThan(tolerance);
    expectIntegers(plan, quantization.dtype.endsWith('4') ? 4 : 8, padded(44, 8) * 160);
  });

  const awkward = [
    ['depth ends inside a block', [20, 72], [72, 24], { dtype: 'int4', axis: 0, block: 32 }],
    ['depth ends inside a chunk, odd columns', [9, 40], [40, 23], { dtype: 'int8', axis: 1 }],
    ['one row', [1, 96], [96, 64], { dtype: 'uint4', axis: 0, block: 32, zero: true }],
  ] as const;
  test.each(byTurns(precision, awkward))('%s', async (_, a, b, quantization) => {
    const left = { shape: a, data: random(sizeOf(a), 1) };
    const graph = new TestGraph();
    const w = quantizedWeight(graph, b, quantization);
    const { outputs, plan } = await run(graph, graph.node('MatMul', [graph.input('a', left), w.value]));
    expect(relativeL2(outputs[0]!.data, matmulReference(left, { shape: b, data: w.data }).data)).toBeLessThan(
      tolerance,
    );
    expectIntegers(plan, quantization.dtype.endsWith('4') ? 4 : 8, padded(b[1], 8) * padded(b[0], 32));
  });

  // What threads fetch at once, in every relation to what shares a scale, to tiles and to the end of the depth.
  const kernels: Record<string, GemmChoice> =
    precision === 'f32'
      ? {
          fma: { kind: 'fma', tile: smallFmaTile, slices: 2 },
          gemv: { kind: 'gemv', shape: { lanes: 8, depthLanes: 4 } },
        }
      : Object.fromEntries(
          [32, 64].map((tileDepth) => {
            // Of three subgroups: with 4 bits a tile of depth 32 is pieces for half the threads.
            const tile = smallMatrixTile('nk', { tileDepth, tileColumns: 48 });
            return [`matrix of depth ${tileDepth}`, { kind: 'matrix', tile, slices: 2, emulated: true }];
          }),
        );
  const pieces = [
    ['fma', 200, { dtype: 'int4', axis: 0, block: 8 }],
    ['fma', 192, { dtype: 'int4', axis: 0, block: 16 }],
    ['fma', 200, { dtype: 'int4', axis: 0, block: 32 }],
    ['fma', 200, { dtype: 'uint4', axis: 1, zero: true }],
    ['gemv', 192, { dtype: 'uint4', axis: 0, block: 8, zero: true }],
    ['gemv', 144, { dtype: 'int4', axis: 0, block: 24 }],
    ['gemv', 192, { dtype: 'int8', axis: 0, block: 16 }],
    ['gemv', 200, { dtype: 'int8', axis: 0, block: 64 }],
    ['matrix of depth 32', 200, { dtype: 'uint4', axis: 0, block: 16, zero: true }],
    ['matrix of depth 32', 200, { dtype: 'int4', axis: 0, block: 64, zero: true }],
    ['matrix of depth 32', 200, { dtype: 'uint8', axis: 0, block: 8, zero: true }],
    ['matrix of depth 32', 384, { dtype: 'int8', axis: 0, block: 128 }],
    ['matrix of depth 64', 384, { dtype: 'int4', axis: 0, block: 96 }],
    ['matrix of depth 64', 384, { dtype: 'int4', axis: 0, block: 128 }],
    ['matrix of depth 64', 144, { dtype: 'int8', axis: 0, block: 24, zero: true }],
    ['matrix of depth 64', 200, { dtype: 'int8', axis: 1 }],
  ] as const;
  const ends = pieces.flatMap(([name, depth, quantization]) => {
    const choice = kernels[name];
    if (!choice) return [];
    const { dtype, zero, block } = { zero: false, block: 0, ...quantization };
    const runs = block ? `blocks of ${block}` : 'by channel';
    const title = `${dtype} ${runs}${zero ? ', zero points' : ''}, depth ${depth}: ${name}`;
    return [[title, depth, quantization, choice] as const];
  });
  test.each(ends)('%s', async (_, depth, quantization, choice) => {
    const rows = choice.kind === 'gemv' ? 3 : 34;
    const a = { shape: [rows, depth], data: random(rows * depth, 1) };
    const graph = new TestGraph();
    const w = quantizedWeight(graph, [depth, 70], quantization);
    const [first] = graph.node('Add', [graph.input('a', a), graph.constant([0], [])]);
    const { outputs, plan } = await run(graph, graph.node('MatMul', [first, w.value]), choice);
    const expected = matmulReference(a, { shape: [depth, 70], data: w.data });
    expect(relativeL2(outputs[0]!.data, expected.data)).toBeLessThan(tolerance);
    expectIntegers(plan, quantization.dtype.endsWith('4') ? 4 : 8, 72 * padded(depth, 32));
  });

  test('Gemm with the weight transposed', async () => {
    const a = { shape: [20, 64], data: random(1280, 1) };
    const graph = new TestGraph();
    const w = quantizedWeight(graph, [24, 64], { dtype: 'int4', axis: 1, block: 32 });
    const { outputs, plan } = await run(
      graph,
      graph.node('Gemm', [graph.input('a', a), w.value], { transB: 1 }),
    );
    const turned = Float64Array.from(
      { length: 24 * 64 },
      (_, i) => w.data[(i % 24) * 64 + Math.floor(i / 24)]!,
    );
    expect(
      relativeL2(outputs[0]!.data, matmulReference(a, { shape: [64, 24], data: turned }).data),
    ).toBeLessThan(tolerance);
    expectIntegers(plan, 4, 24 * 64);
  });

  // Products with a gate want threads of eight columns.
  const gated: [string, GemmChoice | undefined][] =
    precision === 'f32'
      ? [
          [byTheRules, undefined],
          ['fma', { kind: 'fma', tile: fmaTiles.small, slices: 1 }],
        ]
      : [['matrix', deepMatrix]];
  test.each(gated)('gated: %s', async (_, choice) => {
    const a = { shape: [20, 64], data: random(1280, 1) };
    const graph = new TestGraph();
    const w = quantizedWeight(graph, [64, 40], { dtype: 'int8', axis: 1 });
    const y = graph.node(
      'GatedMatMul',
      [graph.input('a', a), w.value],
      { activation: 'abs' },
      { domain: OWN_DOMAIN },
    );
    const { outputs, plan } = await run(graph, y, choice);
    const product = matmulReference(a, { shape: [64, 40], data: w.data }).data;
    const expected = Float64Array.from({ length: 400 }, (_, i) => {
      const at = Math.floor(i / 20) * 40 + (i % 20);
      return product[at]! * Math.abs(product[at + 20]!);
    });
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance);
    expectIntegers(plan, 8, padded(40, 8) * 64);
  });

  const convolutions = [
    ['int4 in blocks of channels', [24, 64, 3, 3], 1, 1, { dtype: 'int4', axis: 1, block: 32 }],
    ['blocks that do not divide the channels', [12, 48, 3, 3], 1, 1, { dtype: 'int4', axis: 1, block: 32 }],
    ['int8 by output channel', [24, 20, 3, 3], 1, 1, { dtype: 'int8', axis: 0 }],
    ['few channels', [12, 3, 3, 3], 1, 1, { dtype: 'int8', axis: 0 }],
    ['1x1', [24, 64, 1, 1], 1, 1, { dtype: 'int4', axis: 1, block: 32 }],
    ['groups', [16, 16, 3, 3], 2, 1, { dtype: 'uint8', axis: 0, zero: true }],
    [
      'groups in blocks of channels',
      [16, 16, 3, 3],
      2,
      1,
      { dtype: 'uint4', axis: 1, block: 16, zero: true },
    ],
    ['every second pixel', [24, 64, 3, 3], 1, 2, { dtype: 'int8', axis: 1, block: 64 }],
  ] as const;
  const tiled: GemmChoice = precision === 'f32' ? { kind: 'fma', tile: smallFmaTile, slices: 1 } : deepMatrix;
  const both = convolutions.map(([name, ...rest], i) => {
    const choice = isMine(i) ? undefined : tiled;
    return [`${name}, ${choice?.kind ?? byTheRules}`, ...rest, choice] as const;
  });
  test.each(both)('convolution: %s', async (_, shape, groups, stride, quantization, choice) => {
    const x = { shape: [1, shape[1] * groups, 6, 5], data: random(shape[1] * groups * 30, 1) };
    const graph = new TestGraph();
    const w = quantizedWeight(graph, shape, quantization);
    const pad = (shape[2] - 1) / 2;
    const y = graph.node('Conv', [graph.input('x', x), w.value], {
      pads: [pad, pad, pad, pad],
      strides: [stride, stride],
      group: groups,
    });
    const { outputs, plan } = await run(graph, y, choice);
    const size = [6 / stride, Math.ceil(5 / stride)];
    const expected = convReference(x, { shape, data: w.data }, size, {
      strides: [stride, stride],
      dilations: [1, 1],
      pads: [pad, pad],
      groups,
    });
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance);
    const depth = padded(shape[1] * shape[2] * shape[3], 32);
    expectIntegers(
      plan,
      quantization.dtype.endsWith('4') ? 4 : 8,
      padded(shape[0] / groups, 8) * groups * depth,
    );
  });

  test('a table is gathered from as it is stored', async () => {
    const graph = new TestGraph();
    const w = quantizedWeight(graph, [10, 32], { dtype: 'int8', axis: 0 });
    const ids = graph.input('ids', { dtype: 'int32', shape: [2, 2], data: [9, 0, 3, 3] });
    const { outputs, plan } = await run(graph, graph.node('Gather', [w.value, ids], { axis: 0 }));
    const expected = [9, 0, 3, 3].flatMap((row) => Array.from(w.data.subarray(row * 32, row * 32 + 32)));
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance);
    expect(plan.quantized).toEqual([{ name: 'w', format: 'int8 by channel', bytes: 320 }]);
    expect(plan.steps).toHaveLength(1);
  });

  test('what has to lie in floats says so', async () => {
    const a = { shape: [9, 40], data: random(360, 1) };
    const graph = new TestGraph();
    const w = quantizedWeight(graph, [40, 24], { dtype: 'int8', axis: 0 });
    const { outputs, plan } = await run(graph, graph.node('MatMul', [graph.input('a', a), w.value]));
    expect(
      relativeL2(outputs[0]!.data, matmulReference(a, { shape: [40, 24], data: w.data }).data),
    ).toBeLessThan(tolerance);
    expect(plan.quantized).toMatchObject([
      { name: 'w', format: 'int8 by channel', inflated: 'its scales change along the sums of a product' },
    ]);
  });
});
