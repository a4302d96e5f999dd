import { mapStore, urlStore, type FileStore } from '@calotype/core';
import { hashedWeights } from '@calotype/dev/hashed-weights';
import { sd15, sdTurbo, tokenizer } from '../full-size-model.ts';
import { openClip } from './open-clip.ts';

/** Stable Diffusion in full size as a model folder: the fixtures' graphs, weights hash-filled, a small tokenizer. */
export async function fullSizeFolder(model: 'sd15' | 'sdturbo' = 'sd15'): Promise<FileStore> {
  const { graphs, configs } = model === 'sd15' ? sd15 : sdTurbo;
  const fixtures = urlStore(new URL('/fixtures/', location.href).href);
  const encoder = model === 'sdturbo' ? openClip() : undefined;
  const written = mapStore({
    ...Object.fromEntries(
      Object.entries(configs).map(([path, config]) => [path, new Blob([JSON.stringify(config)])]),
    ),
    ...(encoder && { 'text_encoder/model.onnx': encoder.bytes }),
  });
  const place = (path: string): string => {
    const [component, file] = path.split('/');
    if (component === 'tokenizer') return `${tokenizer}/${path}`;
    const graph = graphs[component!];
    return graph && file === 'model.onnx' ? `${graph}.onnx` : 'absent';
  };
  let store: FileStore = {
    open: async (path) => ((await written.has(path)) ? written.open(path) : fixtures.open(place(path))),
    has: async (path) => (await written.has(path)) || fixtures.has(place(path)),
  };
  for (const [component, graph] of Object.entries(graphs)) {
    const list = `${graph}.weights.json`;
    ({ store } = await hashedWeights(store, `${component}/model.onnx`, list, { onGpu: true }));
  }
  if (encoder) {
    ({ store } = await hashedWeights(store, 'text_encoder/model.onnx', encoder.weights, { onGpu: true }));
  }
  return store;
}
