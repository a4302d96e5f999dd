/** Stable Diffusion in full size as model folders, made of the graphs among the fixtures. Plain data for page and runner. */

/** Component → its graph among the fixtures, without its ending. */
export interface FullSizeModel {
  graphs: Readonly<Record<string, string>>;
  configs: Readonly<Record<string, unknown>>;
}

const index = (scheduler: string): unknown => ({
  _class_name: 'StableDiffusionPipeline',
  text_encoder: ['transformers', 'CLIPTextModel'],
  tokenizer: ['transformers', 'CLIPTokenizer'],
  unet: ['diffusers', 'UNet2DConditionModel'],
  vae_decoder: ['diffusers', 'AutoencoderKL'],
  scheduler: ['diffusers', scheduler],
});

const noise = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  num_train_timesteps: 1000,
};

const common = {
  'unet/config.json': { sample_size: 64, in_channels: 4 },
  'vae_decoder/config.json': {
    latent_channels: 4,
    scaling_factor: 0.18215,
    block_out_channels: [128, 256, 512, 512],
  },
  'text_encoder/config.json': { max_position_embeddings: 77 },
};

export const sd15: FullSizeModel = {
  graphs: {
    text_encoder: 'full-size/clip-l-text-encoder-fp16',
    unet: 'full-size/sd15-unet-fp16',
    vae_decoder: 'full-size/sd-vae-decoder-fp16',
  },
  configs: {
    ...common,
    'model_index.json': index('DDIMScheduler'),
    'scheduler/scheduler_config.json': {
      ...noise,
      _class_name: 'DDIMScheduler',
      // Random weights predict no noise: without it latents grow with every step.
      clip_sample: true,
      set_alpha_to_one: false,
      steps_offset: 1,
    },
  },
};

/** Its text encoder has no graph among the fixtures: `page/open-clip.ts` writes one. */
export const sdTurbo: FullSizeModel = {
  graphs: { unet: 'full-size/sdturbo-unet-fp16', vae_decoder: 'full-size/sd-vae-decoder-fp16' },
  configs: {
    ...common,
    'model_index.json': index('EulerDiscreteScheduler'),
    'scheduler/scheduler_config.json': {
      ...noise,
      _class_name: 'EulerDiscreteScheduler',
      timestep_spacing: 'trailing',
      prediction_type: 'epsilon',
      steps_offset: 1,
    },
  },
};

/** Where its tokenizer lies among the fixtures: a small one of the same kind. */
export const tokenizer = 'tiny-sd';
