import { describe, expect, test } from 'vitest';
import { random, TestGraph } from '../../test/run-graph.ts';
import { OutOfMemoryError, UnsupportedDeviceError, UnsupportedOpError } from '../errors.ts';
import { call, input } from '../graph/expr.ts';
import { OWN_DOMAIN, type Value } from '../graph/graph.ts';
import type { Capabilities } from './capabilities.ts';
import { planGraph } from './plan-graph.ts';
import { printPlan } from './print.ts';

const capabilities = (limits: Partial<Capabilities['limits']> = {}): Capabilities => ({
  adapter: 'test',
  features: { shaderF16: false, subgroups: false, subgroupMatrix: [], timestampQuery: false },
  subgroupMinSize: 4,
  subgroupMaxSize: 4,
  limits: {
    maxBufferSize: 2 ** 28,
    maxStorageBufferBindingSize: 2 ** 27,
    maxStorageBuffersPerShaderStage: 8,
    maxComputeWorkgroupStorageSize: 16384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxComputeWorkgroupsPerDimension: 65535,
    ...limits,
  },
});

const add = (graph: TestGraph, a: Value, b: Value): Value =>
  graph.node('Elementwise', [a, b], {}, { domain: OWN_DOMAIN, expr: call('add', [input(0), input(1)]) })[0]!;

const tensor = (shape: number[], seed = 1) => ({
  shape,
  data: random(
    shape.reduce((a, b) => a * b, 1),
    seed,
  ),
});

describe('planGraph', () => {
  test('sorts dispatches into phases by what they depend on', () => {
    const graph = new TestGraph();
    const weights = add(graph, graph.weight('v', tensor([8])), graph.weight('w', tensor([8])));
    const prompt = add(graph, graph.input('prompt', tensor([8])), weights);
    const sum = add(graph, graph.input('x', tensor([2, 8])), prompt);
    graph.graph.outputs = [sum];
    const plan = planGraph(graph.graph, {
      capabilities: capabilities(),
      precision: 'f32',
      stableInputs: new Set(['prompt']),
    });
    expect(printPlan(plan)).toMatchInlineSnapshot(`
      "plan f32: 1 dispatches a run, 1 a request, 1 at load
      peak 64 B: weights 32 B, intermediates 32 B
      load
        elementwise_f32  w0 w1 → p0  1×1×1  Elementwise_0
      request
        elementwise_f32  i0 p0 → b0  1×1×1  Elementwise_1
      run
        elementwise_f32  i1 b0 → o0  1×1×1  Elementwise_2
      buffers
        w0  32 B  v
        w1  32 B  w
        p0  32 B  Elementwise_0:0
        i0  32 B  prompt
        i1  64 B  x
        o0  64 B  Elementwise_2:0
        b0  32 B  shared0
      inputs
        i0  float32[8] as f32     prompt
        i1  float32[2, 8] as f32  x
      outputs
        o0  float32[2, 8] as f32  Elementwise_2:0"
    `);
  });

  test('a result known at load is written to the caller at every run', () => {
    const graph = new TestGraph();
    graph.graph.outputs = [add(graph, graph.weight('v', tensor([8])), graph.weight('w', tensor([8])))];
    const { steps, outputs, buffers } = planGraph(graph.graph, {
      capabilities: capabilities(),
      precision: 'f32',
    });
    const [output] = [...outputs.values()];
    expect(buffers[output!.buffer]!.content.kind).toBe('output');
    expect(steps.map(({ phase }) => phase)).toEqual(['load', 'run']);
  });

  test('names the tensor that is too large for one buffer', () => {
    const graph = new TestGraph();
    graph.graph.outputs = [add(graph, graph.input('x', tensor([64])), graph.input('y', tensor([64, 1])))];
    const plan = () =>
      planGraph(graph.graph, {
        capabilities: capabilities({ maxStorageBufferBindingSize: 4096 }),
        precision: 'f32',
      });
    expect(plan).toThrow(OutOfMemoryError);
    expect(plan).toThrow(
      /'Elementwise_0:0', which has to lie in one buffer: 16384 bytes asked for, 4096 available/,
    );
  });

  test('spreads workgroups over two dimensions, and refuses what even those cannot hold', () => {
    const graph = new TestGraph();
    graph.graph.outputs = [add(graph, graph.input('x', tensor([100, 256])), graph.input('y', tensor([256])))];
    const grid = (most: number) =>
      planGraph(graph.graph, {
        capabilities: capabilities({ maxComputeWorkgroupsPerDimension: most }),
        precision: 'f32',
      }).steps.map((step) => step.kind === 'dispatch' && step.grid);
    expect(grid(65535)).toEqual([[25, 1, 1]]);
    expect(grid(6)).toEqual([[5, 5, 1]]);
    expect(() => grid(4)).toThrow(UnsupportedDeviceError);
  });

  test('splits an expression of more operands than a shader may bind', () => {
    const graph = new TestGraph();
    const inputs = Array.from({ length: 10 }, (_, i) => graph.input(`x${i}`, tensor([8], i)));
    const expr = inputs
      .slice(1)
      .reduce((sum, _, i) => call('add', [sum, input(i + 1)]), call('neg', [input(0)]));
    graph.graph.outputs = graph.node('Elementwise', inputs, {}, { domain: OWN_DOMAIN, expr });
    const { steps } = planGraph(graph.graph, { capabilities: capabilities(), precision: 'f32' });
    expect(steps.map((step) => step.kind === 'dispatch' && step.buffers.length)).toEqual([8, 5]);
  });

  test('lists every operator without kernel', () => {
    const graph = new TestGraph();
    const x = graph.input('x', tensor([4]));
    graph.graph.outputs = ['Bogus', 'Fake'].map((op) => {
      const value: Value = { name: op, dtype: 'float32', shape: [4], origin: { kind: 'input' } };
      const node = {
        op,
        domain: '',
        name: `a ${op}`,
        opset: 17,
        inputs: [x],
        outputs: [value],
        attributes: new Map(),
      };
      value.origin = { kind: 'node', node, index: 0 };
      graph.graph.nodes.push(node);
      return value;
    });
    const options = { capabilities: capabilities(), precision: 'f32' } as const;
    expect(() => planGraph(graph.graph, options)).toThrow(UnsupportedOpError);
    expect(() => planGraph(graph.graph, options)).toThrow(/'Bogus' \(node 'a Bogus'.*also needs: Fake/);
    const { steps } = planGraph(graph.graph, { ...options, islands: true });
    expect(steps.flatMap((step) => (step.kind === 'island' ? [step.label] : []))).toEqual(['Bogus+Fake']);
  });
});
