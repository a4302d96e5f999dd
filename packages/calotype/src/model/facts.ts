import type { Session } from '@calotype/core';
import { ModelFolderError } from '../errors.ts';
import type { Family } from '../families/index.ts';
import { unknownFields } from '../samplers/names.ts';
import type { SchedulerConfig } from '../samplers/types.ts';
import type { DecoderFacts } from '../stages/decode-latents.ts';
import type { LatentScaling } from '../stages/latent-scaling.ts';
import type { Colour, LatentColours } from '../stages/preview.ts';
import type { ModelFolder } from './folder.ts';

/** How a model wants to be sampled where the caller says nothing. */
export interface GenerationDefaults {
  numInferenceSteps: number;
  /** 1 or less is none. */
  guidanceScale: number;
}

/** What a model's configs and graphs tell about it. */
export interface ModelFacts {
  latentChannels: number;
  /** Pixels a latent stands for, along each axis. */
  scaleFactor: number;
  /** Pixels along each axis that the model was trained for. */
  defaultSize: number;
  /** The folder's own (`_generation_defaults` in `model_index.json`), else those of its family. */
  defaults: GenerationDefaults;
  scaling: LatentScaling;
  /** Of the folder's own decoder. */
  decoder: DecoderFacts;
  /** What a preview shows of latents, where the folder says (`_latent_rgb_factors` in `vae_decoder/config.json`). */
  latentColours: LatentColours | undefined;
  /** What in the configs has no effect here, each in a sentence; empty for most models. */
  warnings: readonly string[];
  /** `scheduler_config.json` */
  scheduler: SchedulerConfig;
  /** The denoiser's `config.json`; empty where there is none. */
  denoiser: Readonly<Record<string, unknown>>;
  /** `model_index.json` */
  index: Readonly<Record<string, unknown>>;
}

/** @throws ModelFolderError without a scheduler config, and for defaults and colours that are none */
export async function readFacts(
  folder: ModelFolder,
  family: Family,
  parts: { denoiser: Session; denoiserComponent: string; decoder: Session },
  signal: AbortSignal | undefined,
): Promise<ModelFacts> {
  const [denoiser, vae, scheduler] = await Promise.all([
    folder.json(`${parts.denoiserComponent}/config.json`, signal),
    folder.json('vae_decoder/config.json', signal),
    folder.json('scheduler/scheduler_config.json', signal),
  ]);
  if (!scheduler)
    throw new ModelFolderError('scheduler/scheduler_config.json', 'is missing: it says how to sample.');
  const blocks = vae?.['block_out_channels'] ?? vae?.['decoder_block_out_channels'];
  const scaleFactor = Array.isArray(blocks) ? 2 ** (blocks.length - 1) : 8;
  const latentChannels =
    numberOf(parts.decoder.inputs[0]?.shape?.[1]) ??
    numberOf(vae?.['latent_channels']) ??
    numberOf(denoiser?.['out_channels']) ??
    4;
  const sampleSize = numberOf(denoiser?.['sample_size']);
  const defaultSize = sampleSize === undefined ? family.defaultSize : sampleSize * scaleFactor;
  const scaling = scalingOf(vae ?? {});
  return {
    latentChannels,
    scaleFactor,
    defaultSize,
    defaults: { ...family.defaults, ...generationDefaultsOf(folder.index) },
    scaling,
    decoder: {
      scaling,
      range: [-1, 1],
      sampleSize: sampleSizeOf(vae ?? {}),
      scaleFactor,
    },
    latentColours: latentColoursOf(vae ?? {}, latentChannels),
    warnings: unknownFields(scheduler).map(
      (field) => `scheduler/scheduler_config.json: '${field}' is known to no sampler and has no effect.`,
    ),
    scheduler,
    denoiser: denoiser ?? {},
    index: folder.index,
  };
}

/**
 * What a model says of steps and guidance. Distilled ones want few and none, and diffusers has no file that says so.
 * `model_index.json` may, in the names of diffusers' arguments:
 * `"_generation_defaults": { "num_inference_steps": 4, "guidance_scale": 1 }`. Diffusers passes over keys with a leading
 * underscore.
 *
 * @param index `model_index.json`
 * @throws ModelFolderError for what is no number
 */
export function generationDefaultsOf(index: ModelFolder['index']): Partial<GenerationDefaults> {
  const own = index['_generation_defaults'];
  if (own === undefined) return {};
  if (typeof own !== 'object' || own === null || Array.isArray(own)) throw wrongDefault('', own, 'an object');
  const { num_inference_steps: steps, guidance_scale: scale } = own as Record<string, unknown>;
  if (steps !== undefined && !(Number.isInteger(steps) && Number(steps) >= 1)) {
    throw wrongDefault('.num_inference_steps', steps, 'a whole number from 1 on');
  }
  if (scale !== undefined && !Number.isFinite(scale))
    throw wrongDefault('.guidance_scale', scale, 'a number');
  return {
    ...(steps !== undefined && { numInferenceSteps: Number(steps) }),
    ...(scale !== undefined && { guidanceScale: Number(scale) }),
  };
}

function wrongDefault(key: string, value: unknown, expected: string): ModelFolderError {
  return new ModelFolderError(
    'model_index.json',
    `has _generation_defaults${key} that cannot be used: expected ${expected}, got ${JSON.stringify(value)}.`,
  );
}

/** How latents relate to what an autoencoder takes, by its config. */
export function scalingOf(config: Readonly<Record<string, unknown>>): LatentScaling {
  // Defaults of diffusers' classes: AutoencoderKL's are those of Stable Diffusion 1.x and 2.x; TAESD's takes latents as
  // they are.
  const scalingFactor = config['_class_name'] === 'AutoencoderTiny' ? 1 : 0.18215;
  return {
    scalingFactor: numberOf(config['scaling_factor']) ?? scalingFactor,
    shiftFactor: numberOf(config['shift_factor']) ?? 0,
    mean: numbersOf(config['latents_mean']) ?? [0],
    std: numbersOf(config['latents_std']) ?? [1],
  };
}

/**
 * The colours of latents by a decoder's config, in the names of ComfyUI's `latent_formats.py`: `_latent_rgb_factors`, a row of
 * red, green and blue for each channel, and `_latent_rgb_factors_bias`.
 *
 * @throws ModelFolderError for what are no colours
 */
export function latentColoursOf(
  config: Readonly<Record<string, unknown>>,
  channels: number,
): LatentColours | undefined {
  const { _latent_rgb_factors: factors, _latent_rgb_factors_bias: bias = [0, 0, 0] } = config;
  if (factors === undefined) return undefined;
  const areFactors = Array.isArray(factors) && factors.length === channels && factors.every(isColour);
  if (!areFactors || !isColour(bias)) {
    throw new ModelFolderError(
      'vae_decoder/config.json',
      `has _latent_rgb_factors that cannot be used: expected three numbers for each channel, of which there are ${channels}, and for the bias.`,
    );
  }
  return { factors, bias };
}

function isColour(value: unknown): value is Colour {
  return Array.isArray(value) && value.length === 3 && value.every((part) => Number.isFinite(part));
}

/** Pixels that an autoencoder was trained for. Configs that say 32 only repeat the default of diffusers' class. */
export function sampleSizeOf(config: Readonly<Record<string, unknown>>): number {
  return Math.max(512, numberOf(config['sample_size']) ?? 0);
}

export function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

function numbersOf(value: unknown): number[] | undefined {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'number')
    ? value
    : undefined;
}
