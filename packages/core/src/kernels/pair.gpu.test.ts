import { describe, expect, test } from 'vitest';
import { byTurns, openEngine } from '../../test/engine.ts';
import { convReference, convTransposeReference } from '../../test/reference/conv.ts';
import { matmulReference } from '../../test/reference/matmul.ts';
import { groupNorm } from '../../test/reference/normalization.ts';
import { random, relativeL2, runGraph, TestGraph, type RunOptions } from '../../test/run-graph.ts';
import { smallFmaTile, smallMatrixTile } from '../../test/small-tiles.ts';
import { call, input } from '../graph/expr.ts';
import { OWN_DOMAIN, type Value } from '../graph/graph.ts';
import type { Plan } from '../plan/plan.ts';
import { sizeOf, type Shape } from '../tensor/shape.ts';
import type { GemmChoice } from './gemm/choose.ts';

// Kernels that read the rows of a concatenation from the two tensors that make it up.

const engine = openEngine();

/** Sums in f32; operands rounded to f16 in the other case. */
const tolerances = { f32: 2e-6, 'packed-f16': 1e-3 } as const;
const own = { domain: OWN_DOMAIN };

interface Joined {
  value: Value;
  shape: number[];
  /** Row-major. */
  data: Float64Array;
}

/** Two tensors joined along axis 1, which lies innermost in memory: [N, C, …] as [N, …, C]. */
function channels(graph: TestGraph, widths: readonly number[], outer: Shape): Joined {
  const [batch = 1, ...spatial] = outer;
  const pixels = sizeOf(spatial);
  const rank = outer.length + 1;
  const parts = widths.map((width, k) => {
    const lies = { shape: [batch, ...spatial, width], data: random(batch * pixels * width, k + 1) };
    const last = [0, rank - 1, ...spatial.map((_, d) => d + 1)];
    const [turned] = graph.node('Transpose', [graph.input(`x${k}`, lies)], { perm: last });
    // Through an operator, so that it is stored as the precision wants it.
    const [value] = graph.node('Elementwise', [turned], {}, { ...own, expr: call('neg', [input(0)]) });
    return { value, width, data: lies.data };
  });
  const total = widths.reduce((sum, width) => sum + width, 0);
  const shape = [batch, total, ...spatial];
  const data = new Float64Array(sizeOf(shape));
  let first = 0;
  for (const { width, data: part } of parts) {
    part.forEach((v, i) => {
      const [c, pixel] = [i % width, Math.floor(i / width)];
      const image = Math.floor(pixel / pixels);
      data[(image * total + first + c) * pixels + (pixel % pixels)] = -v;
    });
    first += width;
  }
  const [value] = graph.node(
    'Concat',
    parts.map((part) => part.value),
    { axis: 1 },
  );
  return { value: value!, shape, data };
}

/** Two tensors joined along their last axis. */
function rows(graph: TestGraph, widths: readonly number[], outer: Shape): Joined {
  const { value, data } = channels(graph, widths, [sizeOf(outer), 1]);
  const shape = [...outer, widths.reduce((sum, width) => sum + width, 0)];
  const [flat] = graph.node('Reshape', [value, graph.constant(shape, [shape.length], 'int64')]);
  return { value: flat!, shape, data };
}

const names = ({ steps }: Plan): string[] =>
  steps.map((step) => (step.kind === 'dispatch' ? step.kernel.name : step.label));

async function check(
  graph: TestGraph,
  y: Value | undefined,
  expected: Float64Array,
  precision: keyof typeof tolerances,
  options: RunOptions & { kernel?: RegExp; copied?: string | RegExp } = {},
): Promise<void> {
  const { kernel, copied, ...rest } = options;
  const { outputs, plan } = await runGraph(graph, [y!], {
    engine: engine(),
    precision,
    ...rest,
  });
  expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerances[precision]);
  if (kernel) expect(names(plan).join()).toMatch(kernel);
  expect(names(plan).some((name) => name.startsWith('concat'))).toBe(copied !== undefined);
  const [join] = plan.joins;
  if (copied === undefined) expect(join!.copied).toBeUndefined();
  else expect(join!.copied).toMatch(copied);
}

const fma = (slices = 1): GemmChoice => ({ kind: 'fma', tile: smallFmaTile, slices });
const winograd: GemmChoice = { kind: 'winograd', tile: smallFmaTile, slices: 1 };
const matrix = (layout: 'kn' | 'nk'): GemmChoice => ({
  kind: 'matrix',
  tile: smallMatrixTile(layout),
  slices: 1,
  emulated: true,
});

describe.each(['f32', 'packed-f16'] as const)('%s', (precision) => {
  const halves = precision === 'packed-f16';

  // Tiles of depth are 16 deep in f32 arithmetic and 32 on matrices: 32 + 64 in one tensor each, 40 + 24 not.
  const products: [string, number[], Shape, GemmChoice?][] = [
    ['by the rules', [24, 40], [50]],
    ['one row', [32, 64], [1]],
    ['few rows', [24, 40], [5], { kind: 'gemv', shape: { lanes: 8, depthLanes: 32 } }],
    ['in tiles', [32, 64], [2, 35], fma()],
    ['in tiles that lie in both', [40, 24], [70], fma()],
    ['in tiles, depth split', [32, 64], [70], fma(3)],
    ['in tiles, the end in a tile', [32, 40], [70], fma()],
  ];
  const matrixProducts: typeof products = [
    ['on emulated matrices', [32, 64], [70], matrix('nk')],
    ['on emulated matrices, tiles that lie in both', [40, 24], [70], matrix('kn')],
    ['on emulated matrices, the end in a tile', [32, 40], [70], matrix('nk')],
  ];
  test.each([...byTurns(precision, products), ...(halves ? matrixProducts : [])])(
    'product: %s',
    async (_, widths, outer, choice) => {
      const graph = new TestGraph();
      const joined = rows(graph, widths, outer);
      const depth = joined.shape.at(-1)!;
      const b = { shape: [depth, 24], data: random(depth * 24, 3) };
      const [y] = graph.node('MatMul', [joined.value, graph.weight('b', b)]);
      await check(graph, y, matmulReference(joined, b).data, precision, {
        tuning: { gemm: (_, rule) => choice ?? rule },
      });
    },
  );

  interface Image {
    name: string;
    widths: [number, number];
    outer: Shape;
    kernel: number;
    stride?: number;
    pad?: number;
    upsample?: number;
    choice?: GemmChoice;
  }
  const image = { widths: [32, 64], outer: [2, 9, 7], kernel: 3, pad: 1 } satisfies Partial<Image>;
  const images: Image[] = [
    { name: '1x1', ...image, kernel: 1, pad: 0 },
    { name: '1x1 in tiles', ...image, kernel: 1, pad: 0, choice: fma() },
    { name: '1x1 with stride', ...image, kernel: 1, pad: 0, stride: 2, choice: fma() },
    { name: '3x3', ...image },
    { name: '3x3 in tiles', ...image, choice: fma() },
    {
      name: '3x3 in large direct tiles',
      ...image,
      choice: { kind: 'direct', tile: { threadRows: 8, threadColumns: 8, lanes: 4, rowLanes: 1 } },
    },
    { name: '3x3 in tiles that lie in both', ...image, widths: [24, 40], choice: fma() },
    { name: '3x3 with stride', ...image, stride: 2, choice: fma() },
    { name: 'one dimension', ...image, outer: [2, 17], choice: fma() },
    { name: 'by Winograd', ...image, choice: winograd },
    {
      name: 'by Winograd in tiles that lie in both',
      ...image,
      widths: [24, 40],
      choice: winograd,
    },
    { name: 'nearest upsampling first', ...image, outer: [1, 5, 4], upsample: 2, choice: fma() },
    { name: 'as four convolutions', ...image, outer: [1, 17, 16], upsample: 2, choice: fma() },
  ];
  const matrixImages: Image[] = [
    { name: '1x1 on emulated matrices', ...image, kernel: 1, pad: 0, choice: matrix('nk') },
    { name: '3x3 on emulated matrices', ...image, choice: matrix('nk') },
    {
      name: '3x3 on emulated matrices, tiles that lie in both',
      ...image,
      widths: [24, 40],
      choice: matrix('kn'),
    },
  ];
  test.each([...byTurns(precision, images), ...(halves ? matrixImages : [])])(
    'convolution: $name',
    async ({ widths, outer, kernel, choice, ...sizes }) => {
      const { stride = 1, pad = 0, upsample = 1 } = sizes;
      const graph = new TestGraph();
      const joined = channels(graph, widths, outer);
      const [batch = 1, total = 1, ...spatial] = joined.shape;
      const each = <T>(value: T): T[] => spatial.map(() => value);
      const w = {
        shape: [12, total, ...each(kernel)],
        data: random(12 * total * kernel ** spatial.length, 3),
      };
      const attributes = { strides: each(stride), pads: [...each(pad), ...each(pad)] };
      const [y] = graph.node('Conv', [joined.value, graph.weight('w', w)], {
        ...attributes,
        ...(upsample > 1 && { upsample }),
      });
      const large = spatial.map((size) => size * upsample);
      const output = large.map((size) => Math.floor((size + 2 * pad - kernel) / stride) + 1);
      const x = { shape: [batch, total, ...large], data: new Float64Array(batch * total * sizeOf(large)) };
      x.data.forEach((_, i) => {
        const [column, row] = [i % large.at(-1)!, Math.floor(i / large.at(-1)!)];
        x.data[i] =
          joined.data[Math.floor(row / upsample) * spatial.at(-1)! + Math.floor(column / upsample)]!;
      });
      const expected = convReference(x, w, output, { ...attributes, dilations: each(1), groups: 1 });
      await check(graph, y, expected, precision, { tuning: { gemm: (_, rule) => choice ?? rule } });
    },
  );

  // A group of 12 channels, or two of 10, may have channels of both tensors.
  const groupNorms = [
    { name: 'single', widths: [24, 40], outer: [2, 5, 6], groups: 4, kernel: /group_norm_single/ },
    { name: 'groups in both', widths: [32, 16], outer: [2, 5, 6], groups: 4, kernel: /group_norm_single/ },
    { name: 'bundles in both', widths: [24, 16], outer: [1, 12, 23], groups: 4, kernel: /group_norm_single/ },
    { name: 'split', widths: [16, 8], outer: [2, 50, 43], groups: 2, kernel: /statistics.*apply/ },
    {
      name: 'split, on a processor',
      widths: [32, 16],
      outer: [2, 5, 6],
      groups: 4,
      kernel: /statistics.*apply/,
      adapter: 'swiftshader',
    },
  ];
  test.each(byTurns(precision, groupNorms))(
    'GroupNorm: $name',
    async ({ widths, outer, groups, kernel, adapter = 'test' }) => {
      const graph = new TestGraph();
      const joined = channels(graph, widths, outer);
      const total = joined.shape[1]!;
      const [scale, bias] = [random(total, 3), random(total, 4)];
      const [y] = graph.node(
        'GroupNorm',
        [
          joined.value,
          graph.weight('scale', { shape: [total], data: scale }),
          graph.weight('bias', { shape: [total], data: bias }),
        ],
        { groups, epsilon: 1e-5 },
        { ...own, epilogue: { expr: call('silu', [input(0)]), inputs: [] } },
      );
      const expected = groupNorm(joined.data, joined.shape, groups, 1e-5, scale, bias).map(
        (v) => v / (1 + Math.exp(-v)),
      );
      await check(graph, y, expected, precision, {
        kernel,
        adapter,
        limits: { maxComputeInvocationsPerWorkgroup: 64 },
      });
    },
  );

  const copies = [
    ['convolution in groups', [16, 8], { group: 2 }, /reads one tensor/],
    ['depthwise convolution', [16, 8], { group: 24 }, /reads one tensor/],
    ['odd widths', [18, 6], {}, /18 is no multiple/],
    ['three tensors', [8, 8, 8], {}, /3 tensors/],
  ] as const;
  test.each(byTurns(precision, copies))('a copy is made for a %s', async (_, widths, attributes, copied) => {
    const graph = new TestGraph();
    const joined = channels(graph, widths, [1, 5, 4]);
    const groups = 'group' in attributes ? attributes.group : 1;
    const w = { shape: [24, 24 / groups, 3, 3], data: random((24 * 24 * 9) / groups, 3) };
    const pads = [1, 1, 1, 1];
    const [y] = graph.node('Conv', [joined.value, graph.weight('w', w)], { ...attributes, pads });
    const expected = convReference(joined, w, [5, 4], { strides: [1, 1], dilations: [1, 1], pads, groups });
    await check(graph, y, expected, precision, { copied });
  });
});

test('product: rows of a slice, batched with activations', async () => {
  const graph = new TestGraph();
  const joined = rows(graph, [16, 24], [3, 10]);
  const ints = (...data: number[]): Value => graph.constant(data, [data.length], 'int64');
  const [slice] = graph.node('Slice', [joined.value, ints(2), ints(9), ints(1)]);
  const b = { shape: [3, 40, 12], data: random(1440, 3) };
  const [y] = graph.node('MatMul', [slice, graph.input('b', b)]);
  const data = joined.data.filter((_, i) => Math.floor(i / 40) % 10 >= 2 && Math.floor(i / 40) % 10 < 9);
  await check(graph, y, matmulReference({ shape: [3, 7, 40], data }, b).data, 'packed-f16', {
    tuning: { gemm: () => fma() },
  });
});

test('transposed convolution', async () => {
  const graph = new TestGraph();
  const joined = channels(graph, [16, 8], [2, 5, 4]);
  const w = { shape: [24, 12, 4, 4], data: random(24 * 12 * 16, 3) };
  const attributes = { strides: [2, 2], pads: [1, 1, 1, 1] };
  const [y] = graph.node('ConvTranspose', [joined.value, graph.weight('w', w)], attributes);
  const expected = convTransposeReference(joined, w, [10, 8], {
    ...attributes,
    dilations: [1, 1],
    groups: 1,
  });
  await check(graph, y, expected, 'f32');
});

test('a copy is made for those who read one tensor', async () => {
  const graph = new TestGraph();
  const joined = channels(graph, [8, 8], [1, 4, 4]);
  const w = { shape: [8, 16, 1, 1], data: random(128, 3) };
  const convolved = graph.node('Conv', [joined.value, graph.weight('w', w)])[0]!;
  const expr = call('neg', [input(0)]);
  const negated = graph.node('Elementwise', [joined.value], {}, { ...own, expr })[0]!;
  const { outputs, plan } = await runGraph(graph, [convolved, negated], {
    engine: engine(),
    precision: 'packed-f16',
  });
  const attributes = { strides: [1, 1], pads: [0, 0, 0, 0], dilations: [1, 1], groups: 1 };
  const expected = convReference(joined, w, [4, 4], attributes);
  expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerances['packed-f16']);
  expect(
    relativeL2(
      outputs[1]!.data,
      joined.data.map((v) => -v),
    ),
  ).toBeLessThan(tolerances['packed-f16']);
  expect(plan.joins).toEqual([
    { name: expect.any(String) as string, copied: `'${negated.name.split(':')[0]}' reads one tensor` },
  ]);
});

test('the tuning may have everything copied', async () => {
  const graph = new TestGraph();
  const joined = rows(graph, [16, 8], [4]);
  const b = { shape: [24, 8], data: random(192, 3) };
  const [y] = graph.node('MatMul', [joined.value, graph.weight('b', b)]);
  await check(graph, y, matmulReference(joined, b).data, 'f32', {
    tuning: { copiesPairs: true },
    copied: /reads one tensor/,
  });
});
