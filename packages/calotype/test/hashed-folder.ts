import { urlStore, type FileStore } from '@calotype/core';
import { hashedWeights } from '@calotype/dev/hashed-weights';
import { readSafetensors, type SafeTensor } from '@calotype/dev/safetensors';

/** Components that a folder may have. */
const components = [
  'text_encoder',
  'text_encoder_2',
  'text_encoder_3',
  'unet',
  'transformer',
  'vae_decoder',
  'vae_encoder',
  'controlnet',
];

/** A model folder of the fixtures whose weights are left out, with their hash fill in place. */
export async function hashedFolder(name: string): Promise<FileStore> {
  let store: FileStore = urlStore(new URL(`/fixtures/${name}/`, location.href));
  for (const component of components) {
    const model = `${component}/model.onnx`;
    if (!(await store.has(model))) continue;
    ({ store } = await hashedWeights(store, model, `${name}/${component}/model.weights.json`));
  }
  return store;
}

/** The tensors recorded of one run. */
export async function recordedRun(folder: string, id: string): Promise<Map<string, SafeTensor>> {
  const response = await fetch(`/fixtures/${folder}/reference/${id}.safetensors`);
  return readSafetensors(new Uint8Array(await response.arrayBuffer()));
}

/** Elements of a recorded float32 tensor. */
export function floats(tensors: ReadonlyMap<string, SafeTensor>, name: string): Float32Array<ArrayBuffer> {
  return new Float32Array(tensors.get(name)!.data.slice().buffer);
}
