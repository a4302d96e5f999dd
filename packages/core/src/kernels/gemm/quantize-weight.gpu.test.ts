import { beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../../../test/engine.ts';
import { convReference } from '../../../test/reference/conv.ts';
import { matmulReference } from '../../../test/reference/matmul.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import type { Engine } from '../../gpu/engine.ts';
import type { Value } from '../../graph/graph.ts';
import { blockSizes } from '../../plan/weight-format.ts';
import { bytesSource } from '../../source/bytes-source.ts';
import { quantizeBlock } from '../../tensor/quantize-block.ts';
import { fromFloat16, toFloat16 } from '../../tensor/float16.ts';

// Weights that a session quantizes while it loads, against the same scheme in float64.

let engine: Engine;
beforeAll(async () => void (engine = await pageEngine()));
type Format = keyof typeof blockSizes;

/** What the integers and scales of a matrix [depth, columns] stand for, in blocks of depth. */
function quantizedMatrix(w: ArrayLike<number>, depth: number, columns: number, format: Format): Float64Array {
  const result = new Float64Array(depth * columns);
  const bits = format === 'int8' ? 8 : 4;
  for (let n = 0; n < columns; n++) {
    for (let k = 0; k < depth; k += blockSizes[format]) {
      const length = Math.min(blockSizes[format], depth - k);
      const block = Float64Array.from({ length }, (_, i) => w[(k + i) * columns + n]!);
      const { scale, integers } = quantizeBlock(block, bits);
      integers.forEach((q, i) => (result[(k + i) * columns + n] = (q - 2 ** (bits - 1)) * scale));
    }
  }
  return result;
}

const identity = (size: number): number[] =>
  Array.from({ length: size * size }, (_, i) => Number(i % (size + 1) === 0));

/** The last layer stays as it is: here one that changes nothing. */
function unchanged(graph: TestGraph, value: Value, columns: number): Value[] {
  return graph.node('MatMul', [
    value,
    graph.weight('last', { shape: [columns, columns], data: identity(columns) }),
  ]);
}

/** Weights of all sizes: a block of zeros, ties, and numbers down to the smallest float16. */
function awkward(count: number, columns: number, half: boolean): Float64Array {
  const numbers = random(count, 3).map((x, i) => {
    const k = Math.floor(i / columns);
    const size = 10 ** -((i % columns) % 7);
    if (k < 64 && i % columns === 5) return 0;
    return i % 11 === 0 ? Math.round(x * 16) / 16 : x * size;
  });
  return numbers.map((x) => (half ? fromFloat16(toFloat16(x)) : Math.fround(x)));
}

describe.each(['int8', 'int4'] as const)('%s made at load', (format) => {
  test.each([
    ['float32', 160, 44],
    ['float16', 160, 44],
    ['float32', 200, 24],
  ] as const)(
    '%s [%i, %i]: integers and scales are those of the reference',
    async (dtype, depth, columns) => {
      const w = awkward(depth * columns, columns, dtype === 'float16');
      const graph = new TestGraph();
      const x = graph.input('x', { shape: [1, depth, depth], data: identity(depth) });
      const [y] = graph.node('MatMul', [x, graph.weight('w', { dtype, shape: [depth, columns], data: w })]);
      const { outputs, plan } = await runGraph(graph, unchanged(graph, y!, columns), {
        engine,
        weights: format,
      });
      const expected = quantizedMatrix(w, depth, columns, format);
      const different = [...expected.keys()].filter((i) => outputs[0]!.data[i] !== expected[i]);
      expect(different).toEqual([]);
      expect(plan.quantized.map(({ name, format: how }) => `${name} ${how}`)).toEqual([
        `w ${format} in blocks of ${blockSizes[format]}, made at load`,
      ]);
      // No float copy stays.
      const packed = plan.buffers.filter(({ label, phase }) => phase === 'load' && /w$|MatMul_0/.test(label));
      const resident = packed.filter(({ content }) => content.kind === 'computed');
      const words =
        (Math.ceil(depth / 32) * 32 * Math.ceil(columns / 8) * 8 * (format === 'int8' ? 8 : 4)) / 8;
      const scales = Math.ceil(depth / blockSizes[format]) * Math.ceil(columns / 8) * 8 * 2;
      expect(resident.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(words + scales);
    },
  );

  test('a 3x3 convolution, in blocks of its channels at one tap', async () => {
    const shape = [24, 64, 3, 3];
    const w = random(24 * 64 * 9, 1).map(Math.fround);
    // [tap, channel][output], as the product sees it.
    const at = (o: number, c: number, tap: number): number => (o * 64 + c) * 9 + tap;
    const matrix = new Float64Array(w.length);
    for (let o = 0; o < 24; o++)
      for (let c = 0; c < 64; c++)
        for (let t = 0; t < 9; t++) matrix[(t * 64 + c) * 24 + o] = w[at(o, c, t)]!;
    const q = quantizedMatrix(matrix, 576, 24, format);
    const dequantized = new Float64Array(w.length);
    for (let o = 0; o < 24; o++)
      for (let c = 0; c < 64; c++)
        for (let t = 0; t < 9; t++) dequantized[at(o, c, t)] = q[(t * 64 + c) * 24 + o]!;

    const graph = new TestGraph();
    const image = { shape: [1, 64, 6, 5], data: random(64 * 30, 2) };
    const weight = (name: string, size: number): Value =>
      graph.weight(name, { shape: [size, size, 1, 1], data: identity(size) });
    // The first and the last convolution stay as they are.
    const [first] = graph.node('Conv', [graph.input('x', image), weight('first', 64)]);
    const [y] = graph.node('Conv', [first, graph.weight('w', { shape, data: w })], { pads: [1, 1, 1, 1] });
    const result = graph.node('Conv', [y, weight('last', 24)]);
    const { outputs, plan } = await runGraph(graph, result, { engine, weights: format });
    const options = { strides: [1, 1], dilations: [1, 1], pads: [1, 1], groups: 1 };
    const expected = convReference(image, { shape, data: dequantized }, [6, 5], options);
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(2e-6);
    expect(plan.quantized.map(({ name }) => name)).toEqual(['w']);
  });

  test('a table, in blocks of its rows', async () => {
    const [rows, width] = [520, 128];
    const table = random(rows * width, 1).map(Math.fround);
    const graph = new TestGraph();
    const ids = graph.input('ids', { dtype: 'int32', shape: [3], data: [519, 0, 77] });
    const y = graph.node('Gather', [graph.weight('table', { shape: [rows, width], data: table }), ids], {
      axis: 0,
    });
    const { outputs, plan } = await runGraph(graph, y, { engine, weights: format });
    const expected = [519, 0, 77].flatMap((row) =>
      Array.from(quantizedMatrix(table.subarray(row * width, (row + 1) * width), width, 1, format)),
    );
    expect(Array.from(outputs[0]!.data)).toEqual(expected);
    expect(plan.weightBytes).toBe(
      rows * width * (format === 'int8' ? 1 : 0.5) + (rows * width * 2) / blockSizes[format],
    );
  });
});

test('f16 halves float32', async () => {
  const graph = new TestGraph();
  const w = random(64 * 24, 1);
  const x = graph.input('x', { shape: [64, 64], data: identity(64) });
  const y = graph.node('MatMul', [x, graph.weight('w', { shape: [64, 24], data: w })]);
  const { outputs, plan } = await runGraph(graph, y, { engine, weights: 'f16' });
  expect(Array.from(outputs[0]!.data)).toEqual(Array.from(w, (v) => fromFloat16(toFloat16(v))));
  expect(plan.weightBytes).toBe(64 * 24 * 2);
});

describe('weights that no binding holds', () => {
  const limits = { maxStorageBufferBindingSize: 70_000, maxBufferSize: 70_000 };

  /** A weight in a file, of which parts can be read. */
  function large(graph: TestGraph, name: string, shape: readonly number[], data: Float64Array): Value {
    const value = graph.weight(name, { shape, data });
    if (value.origin.kind !== 'weight' || value.origin.ref.data.kind !== 'inline')
      throw new Error('unexpected');
    const { bytes } = value.origin.ref.data;
    const source = bytesSource(name, bytes);
    value.origin.ref.data = { kind: 'range', source, offset: 0, length: bytes.byteLength };
    return value;
  }

  test.each([
    ['rows along the sums', [512, 64], 'MatMul', {}],
    ['rows along the columns', [256, 128], 'Gemm', { transB: 1 }],
  ] as const)('%s are packed from parts', async (_, shape, op, attributes) => {
    const w = random(shape[0] * shape[1], 4);
    const turned = op === 'Gemm';
    const [depth, columns] = turned ? [shape[1], shape[0]] : [shape[0], shape[1]];
    const x = { shape: [5, depth], data: random(5 * depth, 1) };
    for (const weights of ['as-stored', 'f16', 'int8'] as const) {
      const graph = new TestGraph();
      const input = graph.input('x', { ...x, shape: turned ? x.shape : [1, ...x.shape] });
      // Not among the first two layers of vectors: those would not be quantized.
      const picture = graph.input('one', { shape: [1, 1, 1], data: [1] });
      const [first] = graph.node('Mul', [
        input,
        graph.node('Reshape', [picture, graph.constant([1, 1], [2], 'int64')])[0],
      ]);
      const [y] = graph.node(op, [first, large(graph, 'w', shape, w)], attributes);
      const last = large(graph, 'last', [columns, columns], Float64Array.from(identity(columns)));
      const result = graph.node('MatMul', [y, last]);
      const { outputs, plan } = await runGraph(graph, result, { engine, weights, limits });
      const matrix = Float64Array.from({ length: w.length }, (_, i) =>
        turned ? w[(i % columns) * depth + Math.floor(i / columns)]! : w[i]!,
      );
      const known =
        weights === 'as-stored'
          ? matrix
          : weights === 'f16'
            ? matrix.map((v) => fromFloat16(toFloat16(v)))
            : quantizedMatrix(matrix, depth, columns, weights);
      const expected = matmulReference(x, { shape: [depth, columns], data: known });
      // The last layer is stored as float16 but holds ones and zeros.
      expect(relativeL2(outputs[0]!.data, expected.data)).toBeLessThan(2e-6);
      expect(plan.buffers.filter(({ content }) => content.kind === 'weight').length).toBeGreaterThan(2);
    }
  });

  test('a table is read from parts', async () => {
    const [rows, width] = [1100, 64];
    const table = random(rows * width, 1).map(Math.fround);
    for (const weights of ['as-stored', 'int4'] as const) {
      const graph = new TestGraph();
      const ids = graph.input('ids', { dtype: 'int32', shape: [5], data: [1099, 0, 273, 274, 600] });
      const y = graph.node('Gather', [large(graph, 'table', [rows, width], table), ids], { axis: 0 });
      const { outputs, plan } = await runGraph(graph, y, { engine, weights, limits });
      const parts = plan.buffers.filter(({ content }) => content.kind === 'weight');
      expect(parts.map(({ label }) => label)[0]).toBe('table[0:273]');
      // Parts of fewer than 65,536 elements are too small to be quantized: float16, then.
      const stored = weights === 'int4' ? table.map((x) => fromFloat16(toFloat16(x))) : table;
      const row = (id: number): number[] => Array.from(stored.subarray(id * width, (id + 1) * width));
      expect(Array.from(outputs[0]!.data)).toEqual([1099, 0, 273, 274, 600].flatMap(row));
    }
  });
});
