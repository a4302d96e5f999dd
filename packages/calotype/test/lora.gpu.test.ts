import { bytesSource, type Engine, urlStore, type FileStore } from '@calotype/core';
import { writeSafetensors, type SafeTensor } from '@calotype/dev/safetensors';
import { beforeAll, expect, test } from 'vitest';
import { pageEngine } from '../../core/test/engine.ts';
import { TextToImagePipeline, type GenerateOptions } from '../src/index.ts';
import { linearsOf, merge, randoms } from './merged-model.ts';
import { relativeL2 } from './numbers.ts';

const folder = '/fixtures/tiny-sd/';
let engine: Engine;

beforeAll(async () => void (engine = await pageEngine()));
const options: GenerateOptions<'imageData'> = {
  prompt: 'a photo of a cat',
  numInferenceSteps: 3,
  guidanceScale: 4,
  seed: 3,
  width: 64,
  height: 64,
  output: 'imageData',
};

async function latentsOf(pipeline: TextToImagePipeline): Promise<Float32Array> {
  let last: Float32Array | undefined;
  await pipeline.generate({
    ...options,
    onStep: async ({ latents }) => {
      last = await latents.data();
    },
  });
  return last!;
}

test('a LoRA on the UNet and the text encoder gives what a folder with merged weights gives', async () => {
  const store = urlStore(new URL(folder, location.href));
  const read = async (path: string): Promise<Uint8Array<ArrayBuffer>> =>
    new Uint8Array(await (await fetch(folder + path)).arrayBuffer());
  const rank = 2;
  const scale = 0.6;
  const tensors: [string, SafeTensor][] = [];
  const files: Record<string, Uint8Array<ArrayBuffer>> = {};
  const parts = [
    ['unet/model.onnx', 'lora_unet_', /attn[12]\.to_(?:q|k|v|out\.0)$|resnets\.\d\.conv1$/],
    ['text_encoder/model.onnx', 'lora_te_text_model_', /mlp\.fc1$|self_attn\.(?:q|v)_proj$/],
  ] as const;
  for (const [path, prefix, pattern] of parts) {
    const bytes = await read(path);
    const linears = (await linearsOf(bytes)).filter(({ module }) => pattern.test(module));
    expect(linears.length).toBeGreaterThan(5);
    const changes = linears.map((linear, i) => {
      const taps = linear.kernel.reduce((size, dim) => size * dim, 1);
      const columns = linear.ins * taps;
      const down = randoms(i, rank * columns);
      const up = randoms(i + 500, linear.outs * rank).map((value) => value / 4);
      const key = prefix + linear.module.replaceAll('.', '_');
      const float = (shape: number[], data: Float32Array<ArrayBuffer>): SafeTensor => ({
        dtype: 'F32',
        shape,
        data: new Uint8Array(data.buffer),
      });
      tensors.push(
        [`${key}.lora_down.weight`, float([rank, linear.ins, ...linear.kernel], down)],
        [`${key}.lora_up.weight`, float([linear.outs, rank, ...linear.kernel.map(() => 1)], up)],
        [`${key}.alpha`, float([], Float32Array.of(1))],
      );
      const change = (o: number, input: number, tap: number): number => {
        let sum = 0;
        for (let r = 0; r < rank; r++) {
          sum += up[o * rank + r]! * down[r * columns + input * taps + tap]!;
        }
        return (scale / rank) * sum;
      };
      return { linear, change };
    });
    files[path] = merge(bytes, changes);
  }
  const changed: FileStore = {
    has: (path) => store.has(path),
    open: async (path) => (files[path] ? bytesSource(path, files[path]) : store.open(path)),
  };

  using merged = await TextToImagePipeline.fromPretrained(changed, { engine, warmUp: false });
  const expected = await latentsOf(merged);
  using pipeline = await TextToImagePipeline.fromPretrained(folder, { engine, warmUp: false });
  const before = await latentsOf(pipeline);
  expect(relativeL2(before, expected)).toBeGreaterThan(0.01);
  const lora = await pipeline.loadLora(new Blob([new Uint8Array(writeSafetensors(tensors))]));
  expect(pipeline.loras).toEqual([lora]);
  await pipeline.setLoraScale(lora, scale);
  expect(relativeL2(await latentsOf(pipeline), expected)).toBeLessThan(1e-4);
  await pipeline.unloadLora(lora);
  expect(await latentsOf(pipeline)).toEqual(before);
});
