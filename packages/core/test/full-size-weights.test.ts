import { stat } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { Graph } from '../src/graph/graph.ts';
import type { Capabilities, Precision } from '../src/plan/capabilities.ts';
import { footprintOf } from '../src/plan/footprint.ts';
import { planGraph } from '../src/plan/plan-graph.ts';
import type { Plan } from '../src/plan/plan.ts';
import { quantizableLayers } from '../src/plan/quantizable.ts';
import type { WeightFormat } from '../src/plan/weight-format.ts';
import { defaultLimits } from './browsers.ts';
import { fullSizeGraph, graphOf } from './whole-graphs.ts';

// What true-size models take on the GPU, planned without one: their weights are left out of the fixtures.

function planOf(
  graph: Graph,
  precision: Precision,
  weights: WeightFormat = 'as-stored',
  limits: Capabilities['limits'] = defaultLimits,
): Plan {
  const capabilities: Capabilities = {
    adapter: 'test',
    features: { shaderF16: precision === 'f16', subgroups: false, subgroupMatrix: [], timestampQuery: false },
    subgroupMinSize: 4,
    subgroupMaxSize: 128,
    limits,
  };
  return planGraph(graph, {
    capabilities,
    precision,
    weights,
    stableInputs: new Set(['encoder_hidden_states']),
  });
}

const GB = 1e9;

describe('weights on the GPU', () => {
  test.each([
    ['SD 1.5', 'sd15-unet-fp16', 'int8', 0.95],
    ['SD 1.5', 'sd15-unet-fp16', 'int4', 0.55],
    ['SDXL', 'sdxl-unet-fp16', 'int4', 1.6],
  ] as const)("%s's UNet as %s", async (_, file, weights, most) => {
    const plan = planOf(await fullSizeGraph(file), 'f16', weights);
    const kept = plan.quantized.reduce((sum, { bytes }) => sum + bytes, 0);
    console.info(
      `${file} ${weights}: ${(plan.weightBytes / GB).toFixed(3)} GB, of which ${(kept / GB).toFixed(3)} in ${plan.quantized.length} quantized weights`,
    );
    expect(plan.weightBytes).toBeLessThanOrEqual(most * GB);
    expect(plan.quantized.every(({ inflated }) => inflated === undefined)).toBe(true);
  });
});

test("SDXL's UNet loads and runs as int4 within 2 GB at 1024 pixels", async () => {
  const { peakBytes } = footprintOf(planOf(await fullSizeGraph('sdxl-unet-fp16', 128), 'f16', 'int4'));
  console.info(`peak ${(peakBytes / GB).toFixed(3)} GB`);
  expect(peakBytes).toBeLessThanOrEqual(2 * GB);
});

test.each(['text_encoder', 'unet', 'vae_decoder', 'vae_encoder'])(
  "Pocket's %s is multiplied as it is stored",
  async (component) => {
    const file = new URL(`../../pocket/model/${component}/model.onnx`, import.meta.url);
    const plan = planOf(await graphOf(file, { height: 32, width: 32 }), 'packed-f16');
    // Positions are no table to look up: all are added.
    const inflated = plan.quantized.filter((weight) => weight.inflated !== undefined);
    expect(inflated.map(({ name }) => name)).toEqual(
      component === 'text_encoder' ? ['text_model.embeddings.position_embedding.weight_quantized'] : [],
    );
    expect(plan.weightBytes).toBeLessThan((await stat(file)).size);
  },
);

describe('layers that stay float16', () => {
  test.each([
    [
      'SD 1.5',
      'sd15-unet-fp16',
      [
        '/u/conv_in/Conv',
        '/u/conv_out/Conv',
        '/u/time_embedding/linear_1/Gemm',
        '/u/time_embedding/linear_2/Gemm',
      ],
    ],
    [
      'SDXL',
      'sdxl-unet-fp16',
      [
        '/u/add_embedding/linear_1/Gemm',
        '/u/add_embedding/linear_2/Gemm',
        '/u/conv_in/Conv',
        '/u/conv_out/Conv',
        '/u/time_embedding/linear_1/Gemm',
        '/u/time_embedding/linear_2/Gemm',
      ],
    ],
    ['the VAE decoder', 'sd-vae-decoder-fp16', ['/decoder/conv_out/Conv', '/post_quant_conv/Conv']],
  ] as const)('%s', async (_, file, expected) => {
    const graph = await fullSizeGraph(file);
    const chosen = quantizableLayers(graph);
    const layers = graph.nodes.filter(({ op }) => /^(Conv|Gemm|MatMul|GatedMatMul)$/.test(op));
    expect(
      layers
        .filter((node) => !chosen.has(node))
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(expected);
  });
});

/** Bytes of a WGSL type without structures. */
function bytesOfType(type: string): number {
  const array = /^array<(.*),\s*([^,]+)>$/s.exec(type);
  if (array) return bytesOfType(array[1]!.trim()) * Number.parseInt(array[2]!, 10);
  const vector = /^vec([234])/.exec(type);
  if (vector) return vector[1] === '2' ? 8 : 16;
  return 4;
}

/** What a kernel asks of a device beyond its buffers. */
function demands(code: string): { threads: number; workgroupBytes: number } {
  const constants = new Map(
    [...code.matchAll(/const (\w+) = (\d+)u;/g)].map(([, name, value]) => [name!, value!]),
  );
  const resolved = (text: string): string =>
    text.replaceAll(/[A-Z_]{2,}/g, (name) => constants.get(name) ?? name);
  const memory = [...code.matchAll(/var<workgroup> \w+: ([^;]+);/g)];
  const size = resolved(/@workgroup_size\(([^)]+)\)/.exec(code)![1]!);
  return {
    threads: size.split(',').reduce((product, part) => product * Number.parseInt(part, 10), 1),
    workgroupBytes: memory.reduce((sum, [, type]) => sum + bytesOfType(resolved(type!).trim()), 0),
  };
}

describe('default limits', () => {
  test.each(['f16', 'packed-f16', 'f32'] as const)('hold the graphs of SD 1.5 in %s', async (precision) => {
    for (const file of ['sd15-unet-fp16', 'clip-l-text-encoder-fp16', 'sd-vae-decoder-fp16']) {
      // In float32 a picture of 512 has activations of 256 MiB in the decoder, which then works in tiles.
      const isHalved = file.startsWith('sd-vae') && precision === 'f32';
      const plan = planOf(await fullSizeGraph(file, isHalved ? 32 : 64), precision);
      for (const { bytes } of plan.buffers)
        expect(bytes).toBeLessThanOrEqual(defaultLimits.maxStorageBufferBindingSize);
      for (const step of plan.steps) {
        if (step.kind !== 'dispatch') continue;
        const { threads, workgroupBytes } = demands(step.kernel.code);
        expect(threads, step.kernel.name).toBeLessThanOrEqual(
          defaultLimits.maxComputeInvocationsPerWorkgroup,
        );
        expect(workgroupBytes, step.kernel.name).toBeLessThanOrEqual(
          defaultLimits.maxComputeWorkgroupStorageSize,
        );
        expect(step.kernel.bindings.length).toBeLessThanOrEqual(
          defaultLimits.maxStorageBuffersPerShaderStage,
        );
      }
    }
  });

  test('a table that no binding holds lies in parts', async () => {
    const limits = { ...defaultLimits, maxStorageBufferBindingSize: 40 * 2 ** 20 };
    const plan = planOf(await fullSizeGraph('clip-l-text-encoder-fp16'), 'f16', 'as-stored', limits);
    const parts = plan.buffers.filter(({ label }) => label.includes('token_embedding'));
    expect(parts.map(({ bytes }) => bytes).reduce((sum, bytes) => sum + bytes, 0)).toBe(49408 * 768 * 2);
    expect(Math.max(...plan.buffers.map(({ bytes }) => bytes))).toBeLessThanOrEqual(40 * 2 ** 20);
  });
});
