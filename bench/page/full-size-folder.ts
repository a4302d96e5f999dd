import { mapStore, urlStore, type FileStore } from '@calotype/core';
import { hashedWeights } from '@calotype/dev/hashed-weights';

/** Component → its graph among the fixtures of full size. */
const graphs = {
  text_encoder: 'clip-l-text-encoder-fp16',
  unet: 'sd15-unet-fp16',
  vae_decoder: 'sd-vae-decoder-fp16',
};

const configs = {
  'model_index.json': {
    _class_name: 'StableDiffusionPipeline',
    text_encoder: ['transformers', 'CLIPTextModel'],
    tokenizer: ['transformers', 'CLIPTokenizer'],
    unet: ['diffusers', 'UNet2DConditionModel'],
    vae_decoder: ['diffusers', 'AutoencoderKL'],
    scheduler: ['diffusers', 'DDIMScheduler'],
  },
  'unet/config.json': { sample_size: 64, in_channels: 4 },
  'vae_decoder/config.json': {
    latent_channels: 4,
    scaling_factor: 0.18215,
    block_out_channels: [128, 256, 512, 512],
  },
  'text_encoder/config.json': { max_position_embeddings: 77 },
  'scheduler/scheduler_config.json': {
    _class_name: 'DDIMScheduler',
    beta_start: 0.00085,
    beta_end: 0.012,
    beta_schedule: 'scaled_linear',
    num_train_timesteps: 1000,
    clip_sample: false,
    set_alpha_to_one: false,
    steps_offset: 1,
  },
};

/** Stable Diffusion 1.5 in full size as a model folder: the fixtures' graphs, weights hash-filled, a small tokenizer. */
export async function fullSizeFolder(): Promise<FileStore> {
  const fixtures = urlStore(new URL('/fixtures/', location.href).href);
  const written = mapStore(
    Object.fromEntries(
      Object.entries(configs).map(([path, config]) => [path, new Blob([JSON.stringify(config)])]),
    ),
  );
  const place = (path: string): string => {
    const [component, ...rest] = path.split('/');
    const graph = graphs[component as keyof typeof graphs] as string | undefined;
    if (!graph) return `tiny-sd/${path}`;
    return `full-size/${rest.join('/') === 'model.onnx' ? `${graph}.onnx` : rest.join('/')}`;
  };
  const isWritten = (path: string): boolean => Object.hasOwn(configs, path);
  let store: FileStore = {
    open: (path) => (isWritten(path) ? written.open(path) : fixtures.open(place(path))),
    has: async (path) => isWritten(path) || fixtures.has(place(path)),
  };
  for (const [component, graph] of Object.entries(graphs)) {
    const list = `full-size/${graph}.weights.json`;
    ({ store } = await hashedWeights(store, `${component}/model.onnx`, list, { onGpu: true }));
  }
  return store;
}
