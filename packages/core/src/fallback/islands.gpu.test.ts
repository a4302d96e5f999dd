import { beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../../test/engine.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../test/run-graph.ts';
import type { Engine } from '../gpu/engine.ts';
import { call, input } from '../graph/expr.ts';
import { OWN_DOMAIN, type Value } from '../graph/graph.ts';
import { toFloat16 } from '../tensor/float16.ts';
import type { Plan } from '../plan/plan.ts';
import { OrtIslands, reasonForCpu, type IslandRecord } from './islands.ts';

// Operators under ONNX's other name for its domain are the same to onnxruntime and unknown here: so every kernel of
// onnxruntime's can be had as an island.
const domain = 'ai.onnx';

let engine: Engine;
beforeAll(async () => void (engine = await pageEngine()));
const tensor = (shape: number[], seed: number) => ({
  shape,
  data: random(
    shape.reduce((a, b) => a * b, 1),
    seed,
  ),
});
const double = (graph: TestGraph, value: Value): Value =>
  graph.node('Elementwise', [value], {}, { domain: OWN_DOMAIN, expr: call('add', [input(0), input(0)]) })[0]!;

function recordOf(islands: OrtIslands, plan: Plan): IslandRecord | undefined {
  return plan.steps.flatMap((step) => (step.kind === 'island' ? (islands.records.get(step) ?? []) : []))[0];
}

function softmax(rows: readonly (readonly number[])[]): number[] {
  return rows.flatMap((row) => {
    const sum = row.reduce((total, x) => total + Math.exp(x), 0);
    return row.map((x) => Math.exp(x) / sum);
  });
}

describe('islands', () => {
  test('share buffers with our kernels, without reading back', async () => {
    const graph = new TestGraph();
    const x = tensor([5, 7], 1);
    const types = [{ dtype: 'float32' as const, shape: [7, 5] }];
    const flipped = graph.node('Transpose', [graph.input('x', x)], { perm: [1, 0] });
    const [soft] = graph.node('Softmax', [double(graph, flipped[0]!)], { axis: -1 }, { domain, types });
    const islands = new OrtIslands();
    const { outputs, plan } = await runGraph(graph, [double(graph, soft!)], { engine, islands });
    const rows = Array.from({ length: 7 }, (_, i) =>
      Array.from({ length: 5 }, (_, j) => 2 * x.data[j * 7 + i]!),
    );
    expect(
      relativeL2(
        outputs[0]!.data,
        softmax(rows).map((y) => 2 * y),
      ),
    ).toBeLessThan(1e-6);
    // The second dispatch brings what was transposed into row-major order.
    expect(plan.steps.map(({ kind }) => kind)).toEqual(['dispatch', 'dispatch', 'island', 'dispatch']);
    expect(recordOf(islands, plan)).toMatchObject({ provider: 'webgpu', note: undefined, runs: 1 });
  });

  test('of one stretch of operators are one, however they branch', async () => {
    const graph = new TestGraph();
    const x = graph.input('x', tensor([4, 4], 2));
    const types = [{ dtype: 'float32' as const, shape: [4, 4] }];
    const theirs = (op: string, ...inputs: Value[]): Value =>
      graph.node(op, inputs, {}, { domain, types })[0]!;
    const a = theirs('Sigmoid', x);
    const b = theirs('Tanh', double(graph, x));
    const ours = double(graph, theirs('Add', a, b));
    const end = theirs('Mul', ours, theirs('Neg', a));
    const { outputs, plan } = await runGraph(graph, [end, b], { engine, islands: new OrtIslands() });
    const island = plan.steps.flatMap((step) =>
      step.kind === 'island' ? [step.operators.map(({ op }) => op)] : [],
    );
    expect(island).toEqual([['Sigmoid', 'Tanh', 'Add', 'Neg'], ['Mul']]);
    const values = [...random(16, 2)];
    const sigmoid = (v: number) => 1 / (1 + Math.exp(-v));
    const expected = values.map((v) => 2 * (sigmoid(v) + Math.tanh(2 * v)) * -sigmoid(v));
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(1e-6);
    expect(
      relativeL2(
        outputs[1]!.data,
        values.map((v) => Math.tanh(2 * v)),
      ),
    ).toBeLessThan(1e-6);
  });

  test.each(['int64', 'bool', 'uint8', 'int8'] as const)('cast %s at their borders', async (dtype) => {
    const graph = new TestGraph();
    const data = dtype === 'int8' || dtype === 'int64' ? [3, -4, 0, 5, 1] : [1, 0, 1, 1, 0];
    const x = graph.input('x', { shape: [5], data, dtype });
    const types = [{ dtype, shape: [5] }];
    const [y] = graph.node('Identity', [x], {}, { domain, types });
    const { outputs } = await runGraph(graph, [y!], { engine, islands: new OrtIslands() });
    expect([...outputs[0]!.data]).toEqual(data);
  });

  test.each(['f32', 'packed-f16'] as const)(
    'have their weights as float32, activations stored as %s',
    async (precision) => {
      const graph = new TestGraph();
      const x = tensor([3, 32], 3);
      const weights = random(32 * 32, 4);
      const halves = Uint8Array.from(new Uint8Array(Uint16Array.from(weights, toFloat16).buffer));
      const requests: number[] = [];
      const w: Value = {
        name: 'w',
        dtype: 'float16',
        shape: [32, 32],
        origin: {
          kind: 'weight',
          ref: {
            name: 'w',
            dtype: 'float16',
            dims: [32, 32],
            data: {
              kind: 'range',
              offset: 0,
              length: halves.length,
              source: {
                name: 'weights',
                size: async () => halves.length,
                async read(offset, length) {
                  requests.push(length);
                  return halves.slice(offset, offset + length);
                },
              },
            },
          },
        },
      };
      const types = [{ dtype: 'float16' as const, shape: [3, 32] }];
      const [product] = graph.node('MatMul', [double(graph, graph.input('x', x)), w], {}, { domain, types });
      const islands = new OrtIslands();
      const { outputs } = await runGraph(
        graph,
        [graph.node('Cast', [double(graph, product!)], { to: 1 })[0]!],
        {
          engine,
          precision,
          islands,
        },
      );
      const expected = Array.from({ length: 3 * 32 }, (_, i) => {
        let sum = 0;
        for (let k = 0; k < 32; k++)
          sum += 4 * x.data[Math.floor(i / 32) * 32 + k]! * weights[k * 32 + (i % 32)]!;
        return sum;
      });
      expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(1e-3);
      expect(requests).toEqual([halves.length]);
    },
  );

  test('that onnxruntime cannot run on this GPU go to the CPU', async () => {
    const { features, subgroupMinSize } = engine.capabilities;
    const operators = [
      { op: 'MultiHeadAttention', domain: 'com.microsoft', node: 'n', opset: 1, reason: '' },
    ];
    const affected = features.subgroups && subgroupMinSize < 8;
    expect(reasonForCpu(operators, engine.capabilities) !== undefined).toBe(affected);
    expect(reasonForCpu(operators, { ...engine.capabilities, subgroupMinSize: 32 })).toBeUndefined();
    expect(reasonForCpu([{ ...operators[0]!, op: 'Softmax' }], engine.capabilities)).toBeUndefined();
  });

  test('that fail when they run on the GPU are run on the CPU from then on', async () => {
    const graph = new TestGraph();
    const types = [{ dtype: 'float32' as const, shape: [1, 1, 2, 2] }];
    // onnxruntime claims antialiased Resize for WebGPU and throws when it comes to it.
    const sizes = graph.constant([1, 1, 2, 2], [4], 'int64');
    const x = graph.input('x', { shape: [1, 1, 4, 4], data: Float32Array.from({ length: 16 }, () => 3) });
    const inputs = [x, undefined, undefined, sizes];
    const [y] = graph.node('Resize', inputs, { mode: 'linear', antialias: 1 }, { domain, types });
    const islands = new OrtIslands();
    const { outputs, plan } = await runGraph(graph, [y!], { engine, islands });
    expect(relativeL2(outputs[0]!.data, [3, 3, 3, 3])).toBeLessThan(1e-6);
    const record = recordOf(islands, plan);
    expect(record).toMatchObject({ provider: 'cpu', runs: 1 });
    expect(record!.note).toContain('cannot run it on the GPU');
  });
});
