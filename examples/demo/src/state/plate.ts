import type { Settings } from './settings.ts';

/** Wall time of a picture's stages, in milliseconds. */
export interface PlateTimings {
  /** Waiting for the model, where the picture had to. */
  loadMs: number;
  encodeMs: number;
  denoiseMs: number;
  decodeMs: number;
  totalMs: number;
}

/** A finished picture with all that is needed to make it again. */
export interface Plate {
  id: string;
  /** PNG. */
  blob: Blob;
  /** Object URL of the blob. */
  url: string;
  settings: Settings;
  seed: number;
  timings: PlateTimings;
  /** What the model is called. */
  model: string;
  /** Address of the model, where it has one beside the page's own. */
  modelUrl: string | undefined;
  adapter: string;
  precision: string;
  /** Epoch milliseconds. */
  madeAt: number;
}

/** A description for those who do not see the picture. */
export function altText({ settings, model }: Plate): string {
  return `Picture made by ${model} for “${settings.prompt}”`;
}

/** A file name: the prompt's first words and the seed. */
export function fileName({ settings, seed }: Plate): string {
  const words = settings.prompt
    .toLowerCase()
    .match(/[\p{L}\p{N}]+/gu)
    ?.slice(0, 8)
    .join('-');
  return `${words ?? 'picture'}-${seed}.png`;
}
