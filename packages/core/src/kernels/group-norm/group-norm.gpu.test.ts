import { describe, expect, test } from 'vitest';
import { byTurns, openEngine } from '../../../test/engine.ts';
import { groupNorm } from '../../../test/reference/normalization.ts';
import { random, relativeL2, runGraph, TestGraph } from '../../../test/run-graph.ts';
import { call, input } from '../../graph/expr.ts';
import { OWN_DOMAIN, type Value } from '../../graph/graph.ts';
import { sizeOf } from '../../tensor/shape.ts';

const own = { domain: OWN_DOMAIN };
const engine = openEngine();

// f32 keeps 24 bits and the sums are balanced; f16 keeps 11, twice (input and result).
const tolerance = { f32: 2e-6, 'packed-f16': 1e-3 } as const;

const single = ['group_norm_single'];
const split = ['group_norm_statistics', 'group_norm_apply'];
/** Leaves the single design 2048 vec4s, so that small tensors are split. */
const limits = { maxComputeInvocationsPerWorkgroup: 64 };

const onGpu = 'test';
const onProcessor = 'swiftshader';

const cases = [
  { name: 'one group', shape: [1, 8, 3, 5], groups: 1, kernels: single },
  { name: 'whole vec4s', shape: [2, 16, 5, 3], groups: 4, kernels: single },
  { name: '10 channels a group', shape: [2, 40, 4, 4], groups: 4, kernels: single },
  { name: '3 channels a group', shape: [1, 24, 4, 7], groups: 8, kernels: single },
  { name: 'a channel a group', shape: [2, 12, 31], groups: 12, kernels: single },
  { name: 'one position', shape: [3, 64], groups: 4, kernels: single },
  { name: 'volumes', shape: [1, 8, 3, 4, 5], groups: 2, kernels: single },
  { name: 'a group shared by workgroups', shape: [1, 16, 21, 23], groups: 1, kernels: single },
  { name: 'bundles shared by workgroups', shape: [2, 24, 200], groups: 8, kernels: single },
  { name: 'odd channels', shape: [2, 6, 3, 3], groups: 3, kernels: ['group_norm_scalar'] },
  { name: 'a group over several tiles', shape: [1, 1032, 7], groups: 1, kernels: split },
  { name: 'many positions', shape: [1, 16, 50, 43], groups: 4, kernels: split },
  { name: 'many positions, 10 channels a group', shape: [2, 20, 21, 23], groups: 2, kernels: split },
  { name: 'many positions, 3 channels a group', shape: [1, 12, 700], groups: 4, kernels: split },
].map((c) => ({ ...c, adapter: onGpu }));

const onProcessors = [
  { name: 'one position', shape: [3, 64], groups: 4, kernels: split },
  { name: '10 channels a group', shape: [2, 40, 4, 4], groups: 4, kernels: split },
  { name: 'a group over several tiles', shape: [1, 264, 7], groups: 1, kernels: split },
  { name: 'many positions', shape: [1, 16, 50, 43], groups: 4, kernels: split },
  { name: 'more columns than threads', shape: [1, 516, 7], groups: 2, kernels: ['group_norm_scalar'] },
].map((c) => ({ ...c, name: `on a processor, ${c.name}`, adapter: onProcessor }));

/** x in the precision's own storage. */
function stored(graph: TestGraph, shape: readonly number[], data: Float64Array): Value {
  const [x] = graph.node('Elementwise', [graph.input('x', { shape, data })], {}, { ...own, expr: input(0) });
  return x!;
}

describe.each(['f32', 'packed-f16'] as const)('group_norm in %s', (precision) => {
  test.each(byTurns(precision, [...cases, ...onProcessors]))(
    '$name',
    async ({ shape, groups, kernels, adapter }) => {
      const channels = shape[1]!;
      const data = random(sizeOf(shape), 1).map((v, i) => Math.fround(v * 3 + (i % 7)));
      const [scale, bias] = [random(channels, 2), random(channels, 3)];
      const graph = new TestGraph();
      const [y] = graph.node(
        'GroupNorm',
        [
          stored(graph, shape, data),
          graph.weight('scale', { shape: [channels], data: scale }),
          graph.weight('bias', { shape: [channels], data: bias }),
        ],
        { groups, epsilon: 1e-5 },
        own,
      );
      const { outputs, plan } = await runGraph(graph, [y!], { engine: engine(), precision, limits, adapter });
      const names = plan.steps.map((step) => (step.kind === 'dispatch' ? step.kernel.name : 'island'));
      expect(names.filter((name) => name.startsWith('group_norm'))).toEqual(kernels);
      const expected = groupNorm(data, shape, groups, 1e-5, scale, bias);
      expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance[precision]);
    },
  );

  const finished = [
    { name: 'single', shape: [1, 8, 6, 6], groups: 2, adapter: onGpu },
    { name: 'split', shape: [1, 8, 2100], groups: 2, adapter: onGpu },
    { name: 'split, on a processor', shape: [1, 8, 6, 6], groups: 2, adapter: onProcessor },
    { name: 'scalar', shape: [1, 6, 5, 5], groups: 3, adapter: onGpu },
  ];
  test.each(byTurns(precision, finished))(
    'finishes with an epilogue: $name',
    async ({ shape, groups, adapter }) => {
      const channels = shape[1]!;
      const data = random(sizeOf(shape), 4);
      const residual = random(sizeOf(shape), 5);
      const ones = new Float64Array(channels).fill(1);
      const graph = new TestGraph();
      const [y] = graph.node(
        'GroupNorm',
        [stored(graph, shape, data)],
        { groups },
        {
          ...own,
          epilogue: {
            expr: call('add', [call('silu', [input(0)]), input(1)]),
            inputs: [graph.input('residual', { shape, data: residual })],
          },
        },
      );
      const { outputs } = await runGraph(graph, [y!], { engine: engine(), precision, limits, adapter });
      const expected = groupNorm(data, shape, groups, 1e-5, ones, new Float64Array(channels)).map(
        (v, i) => v / (1 + Math.exp(-v)) + residual[i]!,
      );
      expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(tolerance[precision]);
    },
  );

  // Sums of squares of these overflow f16 at once and lose the variance in f32: mean 60000, deviation 32.
  test.each([
    { name: 'single', shape: [1, 8, 8, 8], adapter: onGpu },
    { name: 'split', shape: [1, 8, 2100], adapter: onGpu },
    { name: 'split, on a processor', shape: [1, 8, 2100], adapter: onProcessor },
  ])('keeps the variance of activations near the end of f16: $name', async ({ shape, adapter }) => {
    const data = Float64Array.from({ length: sizeOf(shape) }, (_, i) => 60000 + 32 * (i % 3));
    const graph = new TestGraph();
    const [y] = graph.node('GroupNorm', [stored(graph, shape, data)], { groups: 2 }, own);
    const { outputs } = await runGraph(graph, [y!], { engine: engine(), precision, limits, adapter });
    const expected = groupNorm(data, shape, 2, 1e-5, new Float64Array(8).fill(1), new Float64Array(8));
    // The mean itself is rounded to 2^-8 of 60000's f32, 1e-4 of the deviation.
    expect(relativeL2(outputs[0]!.data, expected)).toBeLessThan(2e-3);
  });
});
