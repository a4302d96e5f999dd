import type { FileStore } from '@calotype/core';
import { ModelFolderError } from '../errors.ts';
import type { DecoderFacts } from '../stages/decode-latents.ts';
import type { PixelRange } from '../stages/picture.ts';
import { sampleSizeOf, scalingOf } from './facts.ts';
import { readJson, type ModelSource } from './folder.ts';

/** A decoder from another place than the model's folder, with what its config does not tell. */
export interface DecoderOptions {
  /** Folder that holds `model.onnx`, or `vae_decoder/model.onnx`, and beside it `config.json`. */
  source: ModelSource;
  /** Latents are divided by it. Default: the config's; 1 for `AutoencoderTiny`; without config the model's own. */
  scalingFactor?: number;
  /** Added to latents then. Default: the config's, or 0. */
  shiftFactor?: number;
  /**
   * Values of black and white in its pictures. Default [-1, 1], which diffusers' decoders give; exports of the original
   * TAESD code give [0, 1].
   */
  range?: PixelRange;
}

export type DecoderSource = ModelSource | DecoderOptions;

/** A decoder's graph and what its config tells. */
export interface FoundDecoder {
  store: FileStore;
  path: string;
  /** @param own what is taken where its config says nothing */
  facts: (own: DecoderFacts) => DecoderFacts;
}

const places = ['', 'vae_decoder/', 'decoder/'];

/**
 * Finds a decoder that takes the place of the model's own.
 *
 * @throws ModelFolderError where there is none
 */
export async function findDecoder(
  given: DecoderSource,
  opener: { store: (source: ModelSource) => Promise<FileStore> },
  signal: AbortSignal | undefined,
): Promise<FoundDecoder> {
  const options: DecoderOptions = isOptions(given) ? given : { source: given };
  const store = await opener.store(options.source);
  for (const place of places) {
    const path = `${place}model.onnx`;
    if (!(await store.has(path))) continue;
    const config = await readJson(store, `${place}config.json`, signal);
    return {
      store,
      path,
      facts: (own) => {
        const scaling = config ? scalingOf(config) : own.scaling;
        const { scalingFactor = scaling.scalingFactor, shiftFactor = scaling.shiftFactor } = options;
        return {
          scaling: { ...scaling, scalingFactor, shiftFactor },
          range: options.range ?? [-1, 1],
          sampleSize: config ? sampleSizeOf(config) : own.sampleSize,
          scaleFactor: own.scaleFactor,
        };
      },
    };
  }
  throw new ModelFolderError('model.onnx', "is missing from the folder given as a decoder's.");
}

/** A map of files may have one called `source`. */
function isOptions(source: DecoderSource): source is DecoderOptions {
  return typeof source === 'object' && 'source' in source && !(source.source instanceof Blob);
}
