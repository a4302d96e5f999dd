import { toHash } from '../share.ts';
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
  /** Pictures that were made at once with it, itself included. Missing in plates from before this was noted. */
  together?: number;
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

/** A link to a picture's settings and seed. */
export function linkTo(plate: Plate): string {
  const { negativePrompt, sampler, ...rest } = plate.settings;
  const hash = toHash({
    ...rest,
    ...(negativePrompt && { negativePrompt }),
    ...(sampler && { sampler }),
    seed: plate.seed,
    ...(plate.modelUrl && { model: plate.modelUrl }),
  });
  return new URL(hash, location.href).href;
}

/** The address of the page names the picture, so that it can be copied and survives a reload. */
export function rememberInAddress(plate: Plate): void {
  window.history.replaceState(null, '', linkTo(plate));
}
