import type { WeightFormat } from '@calotype/core';
import type { FlagSet } from '@calotype/dev/chromium';

/**
 * A graph with the shapes it is timed at. Weights of the full-size ones are float16 hash fills
 * (`packages/dev/src/hash-fill.ts`), uniform with each tensor's own mean and deviation, made on the GPU. A session with
 * `weights` quantizes those as it would a file's. Uniform noise is the hard case for that: no weight is redundant, none
 * is small.
 */
export interface GraphScenario {
  name: string;
  /** Among the fixtures, without its ending. A list of weights beside it (`.weights.json`) tells what to fill. */
  graph: string;
  /** File of inputs and outputs to compare with, without its ending. */
  reference?: string;
  /** What it is of, where that is another size: outputs of that size are compared then. */
  referenceShapes?: Readonly<Record<string, readonly number[]>>;
  shapes: Readonly<Record<string, readonly number[]>>;
  /** What the session makes of its weights; its outputs are then compared with those of the weights as stored too. */
  weights?: WeightFormat;
  /** Bytes that the weights may take on the GPU; more is wrong. */
  maxWeightBytes?: number;
  /** Bytes that everything together may take on the GPU. */
  budget?: number;
}

/** Models whose pictures are timed: Stable Diffusion in full size with hash-filled weights, or one of the fixtures. */
export type PictureModel = 'sd15' | 'sdturbo' | 'tiny-sd-turbo';

/** Text to image, from the call to the picture on a canvas. */
export interface PictureScenario {
  name: string;
  model: PictureModel;
  /** Pixels along each axis. */
  size: number;
  steps: number;
  guidance: number;
  /** Images in one call. */
  images: number;
}

/** From an empty browser profile to the first picture on a canvas, the model's files coming from this machine's disk. */
export interface ColdStart {
  name: string;
  model: 'pocket' | 'sd15';
  /** Where absent, what the model's folder says. */
  steps?: number;
  size?: number;
}

const unet = (
  name: string,
  graph: string,
  size: { batch: number; latent: number; channels: number },
  extra: Partial<GraphScenario> = {},
): GraphScenario => ({
  name,
  graph: `full-size/${graph}`,
  ...extra,
  shapes: {
    sample: [size.batch, 4, size.latent, size.latent],
    timestep: [size.batch],
    encoder_hidden_states: [size.batch, 77, size.channels],
    ...extra.shapes,
  },
});

const sd15 = (batch: number, weights?: 'int8' | 'int4'): GraphScenario =>
  unet(
    `unet-sd15-512-b${batch}${weights ? `-${weights}` : ''}`,
    'sd15-unet-fp16',
    { batch, latent: 64, channels: 768 },
    {
      reference: 'full-size/sd15-unet',
      ...(weights && { weights, maxWeightBytes: weights === 'int8' ? 0.95e9 : 0.55e9 }),
    },
  );

const sdxl = (extra: Partial<GraphScenario> & { name: string }): GraphScenario => {
  const added = { text_embeds: [1, 1280], time_ids: [1, 6] };
  const scenario = unet(
    extra.name,
    'sdxl-unet-fp16',
    { batch: 1, latent: 128, channels: 2048 },
    {
      ...extra,
      reference: 'full-size/sdxl-unet',
      shapes: added,
    },
  );
  return { ...scenario, referenceShapes: { ...scenario.shapes, sample: [1, 4, 32, 32] } };
};

/** Its reference lists all of the graph's weights; the fixtures' own lacks ten biases, as the list of its weights does. */
const decoder = (latent: number): GraphScenario => ({
  name: `vae-decoder-${8 * latent}`,
  graph: 'full-size/sd-vae-decoder-fp16',
  reference: 'full-size/sd-vae-decoder-fp16',
  referenceShapes: { latent_sample: [1, 4, 32, 32] },
  shapes: { latent_sample: [1, 4, latent, latent] },
});

const clip: GraphScenario = {
  name: 'clip-l',
  graph: 'full-size/clip-l-text-encoder-fp16',
  reference: 'full-size/clip-l-text-encoder',
  shapes: { input_ids: [1, 77] },
};

const tinyUnet: GraphScenario = {
  name: 'tiny-unet',
  graph: 'tiny-sd-turbo/unet/model',
  shapes: { sample: [2, 4, 8, 8], timestep: [2], encoder_hidden_states: [2, 77, 32] },
};

/** The software adapter gets little ones. */
export function graphScenarios(flags: FlagSet): GraphScenario[] {
  if (flags === 'software') {
    const quantized = (['int8', 'int4'] as const).map((weights) => ({
      ...tinyUnet,
      name: `${tinyUnet.name}-${weights}`,
      weights,
    }));
    return [clip, tinyUnet, ...quantized];
  }
  return [
    clip,
    sd15(1),
    sd15(1, 'int8'),
    sd15(1, 'int4'),
    ...[2, 4, 8].map((batch) => sd15(batch)),
    unet(
      'unet-sdturbo-512-b1',
      'sdturbo-unet-fp16',
      { batch: 1, latent: 64, channels: 1024 },
      { reference: 'full-size/sdturbo-unet' },
    ),
    sdxl({ name: 'unet-sdxl-1024-b1' }),
    sdxl({ name: 'unet-sdxl-1024-b1-int4', weights: 'int4', budget: 2e9 }),
    decoder(64),
    decoder(128),
  ];
}

export function pictureScenarios(flags: FlagSet): PictureScenario[] {
  const batches = (scenario: Omit<PictureScenario, 'images'>, images: number[]): PictureScenario[] =>
    images.map((count) => ({
      ...scenario,
      images: count,
      name: count === 1 ? scenario.name : `${scenario.name}-x${count}`,
    }));
  if (flags === 'software') {
    const tiny = {
      name: 'txt2img-tiny-64-1',
      model: 'tiny-sd-turbo',
      size: 64,
      steps: 1,
      guidance: 0,
    } as const;
    return batches(tiny, [1, 2]);
  }
  const counts = [1, 2, 4, 8];
  return [
    ...batches({ name: 'txt2img-sdturbo-512-1', model: 'sdturbo', size: 512, steps: 1, guidance: 0 }, counts),
    ...batches({ name: 'txt2img-sd15-512-20', model: 'sd15', size: 512, steps: 20, guidance: 7.5 }, counts),
  ];
}

export function coldStarts(flags: FlagSet): ColdStart[] {
  const pocket: ColdStart = { name: 'cold-start-pocket', model: 'pocket' };
  return flags === 'software'
    ? [pocket]
    : [pocket, { name: 'cold-start-sd15-512-20', model: 'sd15', size: 512, steps: 20 }];
}
