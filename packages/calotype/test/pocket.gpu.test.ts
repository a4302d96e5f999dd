import { createSession, type Engine, Tensor, type Session } from '@calotype/core';
import { readSafetensors } from '@calotype/dev/safetensors';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pageEngine } from '../../core/test/engine.ts';
import { TextToImagePipeline } from '../src/index.ts';
import { learnColours } from '../src/stages/learn-colours.ts';
import { relativeL2 } from './numbers.ts';

// The weights that ship, against onnxruntime's CPU (packages/pocket/training/make_reference.py).

let engine: Engine;
let pipeline: TextToImagePipeline;
let reference: ReturnType<typeof readSafetensors>;

const recorded = (name: string): Float32Array<ArrayBuffer> =>
  new Float32Array(reference.get(name)!.data.slice().buffer);

beforeAll(async () => {
  engine = await pageEngine();
  pipeline = await TextToImagePipeline.fromPretrained('/pocket/', { engine, warmUp: false });
  const file = await fetch(new URL('./fixtures/pocket-reference.safetensors', import.meta.url));
  reference = readSafetensors(new Uint8Array(await file.arrayBuffer()));
});

afterAll(() => pipeline.dispose());

test('a prompt and start latents give the final latents that onnxruntime gives', async () => {
  expect(pipeline.defaults).toEqual({ numInferenceSteps: 4, guidanceScale: 1 });
  expect(pipeline.defaultSize).toBe(256);
  using generation = await pipeline.begin({
    prompt: 'a fox wearing a crown',
    latents: recorded('start_latents'),
  });
  using seeded = await pipeline.begin({ prompt: 'a fox wearing a crown', seed: 11 });
  expect(relativeL2(await seeded.job.latents.data(), recorded('start_latents'))).toBeLessThan(1e-6);
  const { job } = generation;
  while (!job.done) await pipeline.model.denoising.step([job]);
  const latents = await job.latents.data();
  expect(relativeL2(latents, recorded('final_latents'))).toBeLessThan(1e-3);
  expectFewBits(pipeline.model.denoiser, 2, []);
});

test.each<[string, string, string, number, string[]]>([
  ['text_encoder', 'input_ids', 'states', 2, ['text_model.embeddings.position_embedding.weight_quantized']],
  ['vae_decoder', 'middle_latents', 'middle_picture', 1, []],
  ['vae_encoder', 'middle_picture', 'middle_encoded', 1, []],
])('%s', async (component, input, output, formats, inFloats) => {
  using session = await createSession(`/pocket/${component}/model.onnx`, { engine });
  const { dtype, shape, data } = reference.get(input)!;
  const { buffer } = data.slice();
  using tensor =
    dtype === 'I32'
      ? new Tensor('int64', shape, new Int32Array(buffer))
      : new Tensor('float32', shape, new Float32Array(buffer));
  const [result] = Object.values(await session.run({ [session.inputs[0]!.name]: tensor }));
  using actual = result!;
  const values = (await actual.data()) as Float32Array;
  expect(relativeL2(values, recorded(output))).toBeLessThan(1e-4);
  expectFewBits(session, formats, inFloats);
});

test('previews have the colours that the decoder gives', async () => {
  const { facts, decoder } = pipeline.model;
  const { factors, bias } = await learnColours(engine, decoder, facts.latentChannels);
  const said = [...facts.latentColours!.factors, facts.latentColours!.bias].flat();
  const learnt = [...factors, bias].flat();
  expect(said).toHaveLength(learnt.length);
  // After another decoder its config has to say these.
  const off = said.map((value, i) => Math.abs(value - learnt[i]!));
  expect(Math.max(...off), JSON.stringify({ factors, bias })).toBeLessThan(1e-3);
});

/** All of it runs here, with weights that stay in the few bits they are stored in, but for these. */
function expectFewBits(session: Session, formats: number, inFloats: string[]): void {
  const { path, quantized, islands } = session.report();
  expect(path).toBe('webgpu');
  expect(islands).toEqual([]);
  expect(new Set(quantized.map(({ format }) => format)).size).toBe(formats);
  const inflated = quantized.filter((weight) => weight.inflated !== undefined);
  expect(inflated.map(({ name }) => name)).toEqual(inFloats);
}
