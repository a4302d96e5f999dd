import { beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../test/engine.ts';
import {
  convolution,
  expected,
  inOut,
  merged,
  outIn,
  run,
  stored,
  tensor,
  update,
  type Weight,
} from '../test/low-rank.ts';
import { model, type ModelSpec, type NodeSpec, type TensorSpec } from '../test/onnx-writer.ts';
import { random, relativeL2 } from '../test/run-graph.ts';
import { createSession, type Engine } from './index.ts';
import { sizeOf } from './tensor/shape.ts';

let engine: Engine;
beforeAll(async () => void (engine = await pageEngine()));
interface Case {
  name: string;
  x: number[];
  weights: Record<string, Weight>;
  nodes: NodeSpec[];
}

const cases: Case[] = [
  {
    name: 'MatMul',
    x: [2, 5, 12],
    weights: { w: inOut(12, 9) },
    nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }],
  },
  {
    name: 'three products of one x, which become one',
    x: [2, 5, 12],
    weights: { q: inOut(12, 8), k: inOut(12, 8), v: inOut(12, 16) },
    nodes: [
      ...['q', 'k', 'v'].map((w) => ({ op: 'MatMul', inputs: ['x', w], outputs: [`x${w}`] })),
      {
        op: 'Concat',
        inputs: ['xq', 'xk', 'xv'],
        outputs: ['y'],
        attributes: { axis: { int: -1 } },
      },
    ],
  },
  {
    name: 'Gemm with a turned weight',
    x: [5, 12],
    weights: { w: outIn(7, 12) },
    nodes: [{ op: 'Gemm', inputs: ['x', 'w'], outputs: ['y'], attributes: { transB: { int: 1 } } }],
  },
  {
    name: 'MatMul behind a Transpose',
    x: [5, 12],
    weights: { w: outIn(8, 12) },
    nodes: [
      { op: 'Transpose', inputs: ['w'], outputs: ['wt'], attributes: { perm: { ints: [1, 0] } } },
      { op: 'MatMul', inputs: ['x', 'wt'], outputs: ['y'] },
    ],
  },
  {
    name: 'MatMul of half precision behind a Cast',
    x: [5, 12],
    weights: { w: inOut(12, 9, 'float16') },
    nodes: [
      { op: 'Cast', inputs: ['w'], outputs: ['wide'], attributes: { to: { int: 1 } } },
      { op: 'MatMul', inputs: ['x', 'wide'], outputs: ['y'] },
    ],
  },
  {
    name: 'MatMul of bfloat16 behind a Cast',
    x: [5, 12],
    weights: { w: inOut(12, 9, 'bfloat16') },
    nodes: [
      { op: 'Cast', inputs: ['w'], outputs: ['wide'], attributes: { to: { int: 1 } } },
      { op: 'MatMul', inputs: ['x', 'wide'], outputs: ['y'] },
    ],
  },
  {
    name: 'Conv 3×3 with stride',
    x: [2, 6, 7, 8],
    weights: { w: convolution(10, 6, 3, 3) },
    nodes: [
      {
        op: 'Conv',
        inputs: ['x', 'w'],
        outputs: ['y'],
        attributes: { pads: { ints: [1, 1, 1, 1] }, strides: { ints: [2, 2] } },
      },
    ],
  },
  {
    name: 'Conv 1×1 and a weight used twice',
    x: [1, 8, 4, 4],
    weights: { w: convolution(8, 8, 1, 1) },
    nodes: [
      { op: 'Conv', inputs: ['x', 'w'], outputs: ['h'] },
      { op: 'Conv', inputs: ['h', 'w'], outputs: ['y'] },
    ],
  },
];

const specOf = ({ x, nodes }: Case, initializers: Record<string, TensorSpec>): ModelSpec => ({
  opsets: { '': 17, 'com.microsoft': 1 },
  inputs: [{ name: 'x', dtype: 'float32', shape: x }],
  outputs: [{ name: 'y', dtype: 'float32' }],
  initializers,
  nodes,
});

describe('updates merged into floats', () => {
  test.each(cases)('$name', async (item) => {
    const values = new Map(
      Object.entries(item.weights).map(([name, { dims }], i) => [name, random(sizeOf(dims), 10 + i)]),
    );
    const initializers = Object.fromEntries(
      Object.entries(item.weights).map(([name, weight]) => [name, tensor(weight, values.get(name)!)]),
    );
    const x = Float32Array.from(random(sizeOf(item.x), 3));
    using session = await createSession(model(specOf(item, initializers)), { engine, precision: 'f32' });
    const before = await run(session, item.x, x);
    const live = engine.buffers.liveBuffers;

    const infos = new Map(session.weights.map((info) => [info.name, info]));
    expect([...infos.keys()].toSorted()).toEqual(Object.keys(item.weights).toSorted());
    const first = [...infos.values()].map((info, i) => update(info, 3, 0.7, 20 + i));
    const second = [...infos.values()].map((info, i) => update(info, 4, -0.3, 30 + i));
    const states = [
      { first: 0.7, second: undefined },
      { first: 0.7, second: -0.3 },
      { first: 1.5, second: -0.3 },
      { first: undefined, second: 0.25 },
    ];
    for (const state of states) {
      const updates = new Map(
        [...infos.keys()].map((name, i) => {
          const own: ReturnType<typeof update>[] = [];
          if (state.first !== undefined) own.push({ ...first[i]!, scale: state.first });
          if (state.second !== undefined) own.push({ ...second[i]!, scale: state.second });
          return [name, own];
        }),
      );
      await session.updateWeights(updates);
      const changed = Object.fromEntries(
        Object.entries(item.weights).map(([name, weight]) => {
          const base = stored(weight, values.get(name)!);
          return [name, tensor(weight, merged(infos.get(name)!, weight, base, updates.get(name)!))];
        }),
      );
      // onnxruntime's CPU provider has no cast from bfloat16.
      const reference = Object.values(item.weights).some(({ dtype }) => dtype === 'bfloat16')
        ? specOf({ ...item, nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }] }, widened(changed))
        : specOf(item, changed);
      const actual = await run(session, item.x, x);
      expect(relativeL2(actual, await expected(reference, item.x, x))).toBeLessThan(1e-5);
      expect(relativeL2(actual, before)).toBeGreaterThan(1e-2);
    }
    await session.updateWeights(new Map());
    expect(await run(session, item.x, x)).toEqual(before);
    expect(engine.buffers.liveBuffers).toBe(live);
  });
});

function widened(specs: Record<string, TensorSpec>): Record<string, TensorSpec> {
  return Object.fromEntries(
    Object.entries(specs).map(([name, { dims, raw }]) => {
      const bits = Uint32Array.from(new Uint16Array(raw!.slice().buffer), (half) => half << 16);
      return [name, { dtype: 'float32', dims, raw: new Uint8Array(bits.buffer) }];
    }),
  );
}
