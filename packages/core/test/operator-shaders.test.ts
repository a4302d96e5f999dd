import { beforeAll, expect, test } from 'vitest';
import { CalotypeError, NumericError } from '../src/errors.ts';
import { Engine } from '../src/gpu/engine.ts';
import { LowRankMerge } from '../src/gpu/low-rank.ts';
import type { Graph } from '../src/graph/graph.ts';
import type { WeightUses } from '../src/graph/weight-uses.ts';
import { planGraph } from '../src/plan/plan-graph.ts';
import { NumericCheck } from '../src/session/numerics.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { compile, nodeTests } from './conformance/node-tests.ts';
import { describeBrowsers, KernelCheck, nullDevice } from './null-device.ts';

// What whole models may lack, as real cards compile it: the kernels of all operators, the rare ones too, and those that
// sessions have beside their plans.

let graphs: Graph[];

beforeAll(async () => {
  graphs = [];
  for await (const { name, source, references } of nodeTests()) {
    try {
      graphs.push(await compile(source, references));
    } catch (error) {
      // Left to the fallback.
      if (!(error instanceof CalotypeError)) throw new Error(name, { cause: error });
    }
  }
}, 120_000);

test('most operators have kernels', () => {
  expect(graphs.length).toBeGreaterThan(1300);
});

await describeBrowsers((browser, name) => {
  const { capabilities, precision } = browser;

  // Halves as WGSL has them and halves in words; in f32 the node tests run (`conformance/onnx-node.gpu.test.ts`).
  if (name === 'f16' || name === 'least') {
    test("takes the kernels of ONNX's node tests", { timeout: 120_000 }, async () => {
      const check = new KernelCheck(capabilities);
      const refusals = [];
      for (const graph of graphs) refusals.push(...(await check.plan(planGraph(graph, browser))));
      expect(refusals).toEqual([]);
      console.info(`${name}: ${check.size} kernels`);
    });
  }

  test('takes what merges LoRAs and what looks for NaN', async () => {
    const device = await nullDevice(capabilities);
    const engine = await Engine.create({ device, precision });
    const [from, to] = [engine.buffers.acquire(256, 'from'), engine.buffers.acquire(256, 'to')];
    const update = {
      rank: 1,
      scale: 1,
      factors: async () => ({ down: new Float32Array(8), up: new Float32Array(8) }),
    };
    const merge = new LowRankMerge(engine);
    for (const dtype of ['float32', 'float16', 'bfloat16']) {
      const layout = { outFeatures: 8, inFeatures: 8, kernel: [], strides: [8, 1, 1] };
      const weight = { name: 'w', dtype, shape: [8, 8], ...layout } as unknown as WeightUses;
      await merge.run(weight, [update], { from, to }, undefined);
    }
    const numerics = new NumericCheck(engine);
    for (const storage of ['f32', 'f16'] as const) {
      const checked = numerics.check({ y: Tensor.onGpu(engine, 'float32', [64], from, storage) });
      // Nothing is computed: what it reads may say anything.
      await checked.catch((error: unknown) => {
        if (!(error instanceof NumericError)) throw error;
      });
    }
    engine.dispose();
    device.destroy();
  });
});
