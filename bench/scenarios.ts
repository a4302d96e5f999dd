/** A full-size graph with the shapes it is timed at. */
export interface GraphScenario {
  name: string;
  /** Graph and list of weights, under the fixtures' `full-size` folder, without their endings. */
  graph: string;
  /** Outputs to compare with, where the shapes are the reference's. */
  reference?: string;
  shapes: Readonly<Record<string, readonly number[]>>;
}

const unet = (
  name: string,
  graph: string,
  size: { batch: number; latent: number; channels: number },
  extra: { reference?: string; shapes?: Readonly<Record<string, readonly number[]>> } = {},
): GraphScenario => ({
  name,
  graph,
  ...(extra.reference && { reference: extra.reference }),
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
  { name: 'vae-decoder-512', graph: 'sd-vae-decoder-fp16', shapes: { latent_sample: [1, 4, 64, 64] } },
  { name: 'vae-decoder-1024', graph: 'sd-vae-decoder-fp16', shapes: { latent_sample: [1, 4, 128, 128] } },
];
