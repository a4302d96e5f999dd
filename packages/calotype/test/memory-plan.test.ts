import { readFile } from 'node:fs/promises';
import { readModel } from '@calotype/core/tools';
import { Engine, mapStore, type ByteSource, type FileStore } from '@calotype/core';
import { fixturesDir } from '@calotype/dev/fixtures';
import { beforeAll, describe, expect, test } from 'vitest';
import { fakeDevice } from '../../core/test/fake-device.ts';
import { OptionError, planPipeline, type PipelinePlan } from '../src/index.ts';

// Stable Diffusion 1.5 at its true size, planned for a device that is not there from files without weights.

const MB = 1e6;
const graphs = {
  text_encoder: 'clip-l-text-encoder-fp16',
  unet: 'sd15-unet-fp16',
  vae_decoder: 'sd-vae-decoder-fp16',
};
const read = async (path: string): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(await readFile(`${fixturesDir}/${path}`));
const json = (value: unknown): Uint8Array<ArrayBuffer> =>
  new Uint8Array(new TextEncoder().encode(JSON.stringify(value)));

let store: FileStore;
let weightBytes = 0;

beforeAll(async () => {
  const files: Record<string, Uint8Array<ArrayBuffer>> = {
    'model_index.json': json({ _class_name: 'StableDiffusionPipeline' }),
    'unet/config.json': json({ sample_size: 64, cross_attention_dim: 768 }),
    'vae_decoder/config.json': json({ block_out_channels: [128, 256, 512, 512], scaling_factor: 0.18215 }),
  };
  for (const path of [
    'scheduler/scheduler_config.json',
    'tokenizer/tokenizer.json',
    'tokenizer/tokenizer_config.json',
  ]) {
    files[path] = await read(`tiny-sd/${path}`);
  }
  const weights = new Map<string, ByteSource>();
  for (const [component, name] of Object.entries(graphs)) {
    const path = `${component}/model.onnx`;
    files[path] = await read(`full-size/${name}.onnx`);
    const { graph } = await readModel(mapStore(files), path, { allowMissingExternalData: true });
    const ends = new Map<string, number>();
    for (const { data } of graph.initializers.values()) {
      if (data.kind !== 'missing') continue;
      ends.set(data.location, Math.max(ends.get(data.location) ?? 0, data.offset + data.length));
    }
    for (const [location, bytes] of ends) {
      weightBytes += bytes;
      weights.set(location, {
        name: location,
        size: async () => bytes,
        read: () => Promise.reject(new Error(`${location} was read`)),
      });
    }
  }
  const rest = mapStore(files);
  store = {
    open: async (path) => weights.get(path) ?? rest.open(path),
    has: async (path) => weights.has(path) || rest.has(path),
  };
}, 60_000);

async function plan(
  options: Parameters<typeof planPipeline>[1] & { limits?: Partial<GPUSupportedLimits> } = {},
): Promise<PipelinePlan> {
  const { limits = {}, ...rest } = options;
  const device = fakeDevice();
  const large = { maxBufferSize: 2 ** 31, maxStorageBufferBindingSize: 2 ** 31 - 4 };
  Object.defineProperty(device, 'limits', { value: Object.assign({}, device.limits, large, limits) });
  return planPipeline(store, { engine: await Engine.create({ device }), ...rest });
}

describe('Stable Diffusion 1.5', () => {
  test('what it takes is known before any weight is read', async () => {
    const result = await plan();
    expect(result).toMatchObject({ width: 512, height: 512, batch: 1, fit: 'resident', advice: [] });
    expect(result.components.map(({ component }) => component)).toEqual([
      'text_encoder',
      'unet',
      'vae_decoder',
    ]);
    expect(result.fetchBytes).toBeGreaterThan(weightBytes);
    expect(result.fetchBytes).toBeLessThan(weightBytes + 10 * MB);
    const [, unet] = result.components;
    // 860 M parameters in float16, and more for 3x3 kernels that are kept transformed or summed.
    expect(unet!.footprint!.weightBytes / MB).toBeGreaterThan(1700);
    expect(unet!.footprint!.weightBytes / MB).toBeLessThan(1850);
    expect(result.peakBytes).toBeGreaterThan(result.residentBytes);
    expect(result.swappedPeakBytes).toBeLessThan(result.peakBytes);
  });

  test('larger pictures and batches take more', async () => {
    const [small, large] = [await plan({ width: 256, height: 256 }), await plan({ batch: 2 })];
    const middle = await plan();
    expect(small.peakBytes).toBeLessThan(middle.peakBytes);
    expect(large.peakBytes).toBeGreaterThan(middle.peakBytes);
    await expect(plan({ width: 500 })).rejects.toThrow(OptionError);
  });

  test('a budget that one stage at a time keeps', async () => {
    const whole = await plan();
    const budget = (whole.peakBytes + whole.swappedPeakBytes) / 2;
    const result = await plan({ memoryBudget: budget });
    expect(result.fit).toBe('swapped');
    expect(result.advice[0]).toMatchObject({ kind: 'swap', fit: 'swapped' });
    expect(String(result)).toContain('One stage at a time fits.');
  });

  test('a budget that only few bits keep', async () => {
    const result = await plan({ memoryBudget: 1300 * MB });
    expect(result.fit).toBe('none');
    const fitting = result.advice.filter(({ fit }) => fit !== 'none').map(({ weights }) => weights);
    expect(fitting).toContain('int4');
    expect(fitting).not.toContain('f16');
    const int4 = result.advice.find(({ weights }) => weights === 'int4')!;
    const loaded = await plan({ memoryBudget: 1300 * MB, weights: 'int4' });
    expect(loaded.peakBytes).toBe(int4.peakBytes);
    expect(loaded.fit).toBe(int4.fit);
  });

  test("WebGPU's default limits", async () => {
    const limits = { maxBufferSize: 2 ** 28, maxStorageBufferBindingSize: 2 ** 27 };
    const result = await plan({ limits });
    expect(result.components.map(({ component, problem }) => `${component}: ${problem ?? 'fits'}`)).toEqual([
      'text_encoder: fits',
      'unet: fits',
      'vae_decoder: fits',
    ]);
  });
});
