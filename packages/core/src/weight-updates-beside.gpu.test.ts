import { beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../test/engine.ts';
import { expected, merged, run, tensor, update, type Weight } from '../test/low-rank.ts';
import { model, type NodeSpec, type TensorSpec } from '../test/onnx-writer.ts';
import { random, relativeL2 } from '../test/run-graph.ts';
import { createSession, type Engine } from './index.ts';
import { sizeOf } from './tensor/shape.ts';

let engine: Engine;
beforeAll(async () => void (engine = await pageEngine()));
const dynamicInput: NodeSpec = {
  op: 'DynamicQuantizeLinear',
  inputs: ['x'],
  outputs: ['xq', 'x_scale', 'x_zero'],
};
const dequantized: NodeSpec[] = [
  { op: 'Cast', inputs: ['sum'], outputs: ['wide'], attributes: { to: { int: 1 } } },
  { op: 'Mul', inputs: ['x_scale', 'w_scale'], outputs: ['scales'] },
  { op: 'Mul', inputs: ['wide', 'scales'], outputs: ['y'] },
];
const small = (dtype: 'uint8' | 'int8', dims: number[]): TensorSpec => ({
  dtype,
  dims,
  raw: Uint8Array.from(random(sizeOf(dims), 5), (value) => Math.round(value * 100) + 128),
});
const floats = (dims: number[], values: ArrayLike<number>): TensorSpec => ({
  dtype: 'float32',
  dims,
  raw: new Uint8Array(Float32Array.from(values).buffer),
});

const quantized: {
  name: string;
  x: number[];
  initializers: Record<string, TensorSpec>;
  nodes: NodeSpec[];
}[] = [
  {
    name: 'MatMulNBits',
    x: [2, 3, 32],
    initializers: { w: small('uint8', [8, 2, 8]), w_scale: floats([16], random(16, 6)) },
    nodes: [
      {
        op: 'MatMulNBits',
        domain: 'com.microsoft',
        inputs: ['x', 'w', 'w_scale'],
        outputs: ['y'],
        attributes: { bits: { int: 4 }, K: { int: 32 }, N: { int: 8 }, block_size: { int: 16 } },
      },
    ],
  },
  {
    name: 'MatMulInteger of dynamic quantization',
    x: [3, 12],
    initializers: {
      w: small('uint8', [12, 8]),
      w_zero: { dtype: 'uint8', dims: [], raw: Uint8Array.of(120) },
      w_scale: floats([1], [0.02]),
    },
    nodes: [
      dynamicInput,
      { op: 'MatMulInteger', inputs: ['xq', 'w', 'x_zero', 'w_zero'], outputs: ['sum'] },
      ...dequantized,
    ],
  },
  {
    name: 'ConvInteger of dynamic quantization',
    x: [1, 4, 6, 6],
    initializers: {
      w: small('uint8', [8, 4, 3, 3]),
      w_zero: { dtype: 'uint8', dims: [], raw: Uint8Array.of(120) },
      w_scale: floats([1], [0.02]),
    },
    nodes: [
      dynamicInput,
      {
        op: 'ConvInteger',
        inputs: ['xq', 'w', 'x_zero', 'w_zero'],
        outputs: ['sum'],
        attributes: { pads: { ints: [1, 1, 1, 1] }, strides: { ints: [2, 2] } },
      },
      ...dequantized,
    ],
  },
  {
    name: 'MatMul of DequantizeLinear',
    x: [3, 12],
    initializers: { w: small('int8', [12, 8]), w_scale: floats([], [0.02]) },
    nodes: [
      { op: 'DequantizeLinear', inputs: ['w', 'w_scale'], outputs: ['wide'] },
      { op: 'MatMul', inputs: ['x', 'wide'], outputs: ['y'] },
    ],
  },
];

describe('updates beside quantized weights', () => {
  test.each(quantized)('$name', async ({ x: shape, initializers, nodes }) => {
    const io = {
      opsets: { '': 17, 'com.microsoft': 1 },
      inputs: [{ name: 'x', dtype: 'float32', shape }],
      outputs: [{ name: 'y', dtype: 'float32' }],
    } as const;
    const x = Float32Array.from(random(sizeOf(shape), 3));
    using session = await createSession(model({ ...io, initializers, nodes }), { engine, precision: 'f32' });
    const [info] = session.weights;
    expect(info).toMatchObject({ name: 'w', quantized: true });
    const before = await run(session, shape, x);
    const updates = [update(info!, 3, 0.5, 20), update(info!, 2, -0.25, 30)];
    // The float weight that the updates amount to, in a float graph of its own.
    const outIn: Weight = {
      dims: [info!.outFeatures, info!.inFeatures, ...info!.kernel],
      index: (o, i, tap) => (o * info!.inFeatures + i) * sizeOf(info!.kernel) + tap,
    };
    const node = nodes.find(({ op }) => op === 'ConvInteger');
    const change = (scales: number[]): Promise<Float32Array> => {
      const scaled = updates.map((own, i) => ({ ...own, scale: scales[i]! }));
      const d = tensor(outIn, merged(info!, outIn, new Float64Array(sizeOf(outIn.dims)), scaled));
      const product: NodeSpec[] = node
        ? [{ op: 'Conv', inputs: ['x', 'd'], outputs: ['y'], attributes: node.attributes! }]
        : [
            { op: 'Transpose', inputs: ['d'], outputs: ['t'] },
            { op: 'MatMul', inputs: ['x', 't'], outputs: ['y'] },
          ];
      return expected({ ...io, initializers: { d }, nodes: product }, shape, x);
    };
    for (const scales of [
      [0.5, -0.25],
      [-1, 0.125],
    ]) {
      await session.updateWeights(new Map([['w', updates.map((own, i) => ({ ...own, scale: scales[i]! }))]]));
      const delta = await change(scales);
      const sum = before.map((value, i) => value + delta[i]!);
      expect(relativeL2(await run(session, shape, x), sum)).toBeLessThan(1e-5);
      expect(relativeL2(sum, before)).toBeGreaterThan(1e-2);
    }
    // Other scales need no other plan.
    const plan = await session.plan();
    await session.updateWeights(new Map([['w', updates]]));
    await run(session, shape, x);
    expect(await session.plan()).toBe(plan);
    await session.updateWeights(new Map());
    expect(await run(session, shape, x)).toEqual(before);
  });
});
