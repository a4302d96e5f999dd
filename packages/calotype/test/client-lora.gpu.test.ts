import { writeSafetensors, type SafeTensor } from '@calotype/dev/safetensors';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pageEngine } from '../../core/test/engine.ts';
import { LoraError, TextToImageClient, TextToImagePipeline, type GenerateResult } from '../src/index.ts';
import { randoms } from './merged-model.ts';

const folder = '/fixtures/micro-sd/';
const options = {
  prompt: 'a photo of a cat',
  numInferenceSteps: 4,
  guidanceScale: 1,
  seed: 3,
  width: 64,
  height: 64,
  output: 'imageData',
} as const;

let client: TextToImageClient;

beforeAll(async () => {
  client = await TextToImageClient.fromPretrained(folder, {
    precision: 'f32',
    sharing: 'none',
    warmUp: { width: 64, height: 64 },
  });
});
afterAll(() => client?.dispose());

const float = (shape: number[], data: Float32Array<ArrayBuffer>): SafeTensor => ({
  dtype: 'F32',
  shape,
  data: new Uint8Array(data.buffer),
});

/** A LoRA on the linear layers of micro-sd's UNet. */
function loraFile(seed: number, width = 64): Blob {
  const tensors = ['to_q', 'to_k', 'to_v', 'to_out_0'].flatMap((part, i): [string, SafeTensor][] => {
    const key = `lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_${part}`;
    return [
      [`${key}.lora_down.weight`, float([2, width], randoms(seed + i, 2 * width))],
      [`${key}.lora_up.weight`, float([width, 2], randoms(seed + i + 50, width * 2))],
    ];
  });
  return new Blob([new Uint8Array(writeSafetensors(tensors))]);
}

function pixelsOf(result: GenerateResult<'imageData'>): Uint8ClampedArray {
  return result.images[0]!.data;
}

function worst(a: Uint8ClampedArray, b: Uint8ClampedArray): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
}

/** Pictures of pipelines in the page, which have one set of LoRAs at a time. */
async function expected(loras: readonly [file: Blob, scale: number][][]): Promise<Uint8ClampedArray[]> {
  const engine = await pageEngine();
  using pipeline = await TextToImagePipeline.fromPretrained(folder, { engine, warmUp: false });
  const pictures: Uint8ClampedArray[] = [];
  for (const set of loras) {
    const loaded = [];
    for (const [file, scale] of set) loaded.push(await pipeline.loadLora(file, { scale }));
    pictures.push(pixelsOf(await pipeline.generate(options)));
    for (const lora of loaded) await pipeline.unloadLora(lora);
  }
  return pictures;
}

test('every request of a client runs with the LoRAs of the moment when it was made', async () => {
  const [one, two] = [loraFile(1), loraFile(2)];
  const [none, first, weaker, both] = await expected([
    [],
    [[one, 1]],
    [[one, 0.25]],
    [
      [one, 0.25],
      [two, -0.5],
    ],
  ]);
  expect(worst(first!, none!)).toBeGreaterThan(5);
  expect(worst(both!, weaker!)).toBeGreaterThan(5);

  const before = pixelsOf(await client.generate(options));
  expect(worst(before, none!)).toBeLessThanOrEqual(1);

  // All at once: the first runs or waits while LoRAs are loaded, scaled and unloaded.
  const plain = client.generate(options);
  const a = await client.loadLora(one);
  expect(a).toMatchObject({ scale: 1, layers: { denoiser: 4 }, skipped: [] });
  const withOne = client.generate(options);
  client.setLoraScale(a, 0.25);
  const withLess = client.generate(options);
  const b = await client.loadLora(two, { scale: -0.5, name: 'second' });
  expect(client.loras.map(({ name, scale }) => [name, scale])).toEqual([
    [a.name, 0.25],
    ['second', -0.5],
  ]);
  const withBoth = client.generate(options);
  client.unloadLora(a);
  client.unloadLora(b);
  const after = client.generate(options);
  const again = client.generate(options);
  const pictures = (await Promise.all([plain, withOne, withLess, withBoth, after, again])).map(pixelsOf);
  const wanted = [none!, first!, weaker!, both!];
  wanted.forEach((pixels, i) => expect(worst(pictures[i]!, pixels), `request ${i}`).toBeLessThanOrEqual(1));
  // Without them the weights are the file's bits again.
  expect(pictures[4]).toEqual(before);
  expect(pictures[5]).toEqual(before);
});

test('a LoRA for another model, or one that is not loaded, is refused; a cancelled request lets the others on', async () => {
  await expect(client.loadLora(loraFile(1, 48))).rejects.toMatchObject({
    name: 'LoraError',
    unmatched: expect.arrayContaining([expect.stringContaining('48')]),
  });
  expect(client.loras).toEqual([]);
  const lora = await client.loadLora(loraFile(1));
  const running = client.generate({ ...options, numInferenceSteps: 30 });
  client.setLoraScale(lora, 2);
  const waiting = client.submit(options);
  client.setLoraScale(lora, 1);
  const last = client.generate({ ...options, numInferenceSteps: 1 });
  waiting.cancel();
  await expect(waiting.result).rejects.toThrow('cancelled');
  await Promise.all([running, last]);
  client.unloadLora(lora);
  expect(() => client.setLoraScale(lora, 1)).toThrow(LoraError);
  expect(() => client.unloadLora(lora)).toThrow('not loaded');
});
