import type { WeightFormat } from '@calotype/core';

/**
 * A full-size graph with the shapes it is timed at. Its weights are float16 hash fills (`packages/dev/src/hash-fill.ts`),
 * uniform with each tensor's own mean and deviation, made on the GPU. A session with `weights` quantizes those as it
 * would a file's. Uniform noise is the hard case for that: no weight is redundant, none is small.
 */
export interface GraphScenario {
  name: string;
  /** Graph and list of weights, under the fixtures' `full-size` folder, without their endings. */
  graph: string;
  /** Outputs to compare with, where the shapes are the reference's. */
  reference?: string;
  shapes: Readonly<Record<string, readonly number[]>>;
  /** What the session makes of its weights; its outputs are then compared with those of the weights as stored too. */
  weights?: WeightFormat;
  /** Bytes that everything together may take on the GPU. */
  budget?: number;
}

const unet = (
  name: string,
  graph: string,
  size: { batch: number; latent: number; channels: number },
  extra: Partial<GraphScenario> = {},
): GraphScenario => ({
  name,
  graph,
  ...extra,
  shapes: {
    sample: [size.batch, 4, size.latent, size.latent],
    timestep: [size.batch],
    encoder_hidden_states: [size.batch, 77, size.channels],
    ...extra.shapes,
  },
});

/** What `npm run bench` times. */
export const scenarios: readonly GraphScenario[] = [
  {
    name: 'clip-l',
    graph: 'clip-l-text-encoder-fp16',
    reference: 'clip-l-text-encoder',
    shapes: { input_ids: [1, 77] },
  },
  unet(
    'unet-sd15-512-b1',
    'sd15-unet-fp16',
    { batch: 1, latent: 64, channels: 768 },
    { reference: 'sd15-unet' },
  ),
  ...(['int8', 'int4'] as const).map((weights) =>
    unet(
      `unet-sd15-512-b1-${weights}`,
      'sd15-unet-fp16',
      { batch: 1, latent: 64, channels: 768 },
      { reference: 'sd15-unet', weights },
    ),
  ),
  unet('unet-sd15-512-b2', 'sd15-unet-fp16', { batch: 2, latent: 64, channels: 768 }),
  unet(
    'unet-sdturbo-512-b1',
    'sdturbo-unet-fp16',
    { batch: 1, latent: 64, channels: 1024 },
    { reference: 'sdturbo-unet' },
  ),
  unet(
    'unet-sdxl-1024-b1',
    'sdxl-unet-fp16',
    { batch: 1, latent: 128, channels: 2048 },
    { shapes: { text_embeds: [1, 1280], time_ids: [1, 6] } },
  ),
  unet(
    'unet-sdxl-1024-b1-int4',
    'sdxl-unet-fp16',
    { batch: 1, latent: 128, channels: 2048 },
    { shapes: { text_embeds: [1, 1280], time_ids: [1, 6] }, weights: 'int4', budget: 2e9 },
  ),
  { name: 'vae-decoder-512', graph: 'sd-vae-decoder-fp16', shapes: { latent_sample: [1, 4, 64, 64] } },
  { name: 'vae-decoder-1024', graph: 'sd-vae-decoder-fp16', shapes: { latent_sample: [1, 4, 128, 128] } },
];
