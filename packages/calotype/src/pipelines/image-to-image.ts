import { Tensor } from '@calotype/core';
import { ModelFolderError } from '../errors.ts';
import type { DiffusionModel } from '../model/model.ts';
import type { NoiseSource } from '../random/index.ts';
import type { SamplerOptions } from '../samplers/index.ts';
import type { OutputType } from '../stages/picture.ts';
import type { LatentEncoder } from '../stages/encode-image.ts';
import { openImage, type ImageInput, type OpenedImage, type Planes } from '../stages/image-input.ts';
import { uploadTensor } from '../stages/memory.ts';
import { noised, startNoise } from './noise.ts';
import type { GenerateOptions } from './options.ts';
import { DiffusionPipeline, type Sizing, type Start, type StartContext } from './pipeline.ts';
import { share, sizeMultiple, type ResolvedRequest } from './request.ts';

export interface ImageToImageOptions<T extends OutputType = OutputType> extends GenerateOptions<T> {
  /** The picture to begin with. It is brought to `width` × `height`, by default its own size, rounded down to what the model takes. */
  image: ImageInput;
  /** How much of it may change, 0 to 1: the share of the steps that run. Default 0.8. */
  strength?: number;
}

/**
 * Pictures from a picture and words (SDEdit, Meng et al., arXiv 2108.01073): the picture is noised to some level, and
 * denoised from there.
 *
 * @example
 * using pipeline = await ImageToImagePipeline.fromPretrained('/models/sd-1.5/');
 * const { images } = await pipeline.generate({ prompt: 'an oil painting', image: file, strength: 0.6 });
 */
export class ImageToImagePipeline extends DiffusionPipeline<ImageToImageOptions> {
  constructor(model: DiffusionModel) {
    super(model);
    encoderOf(model);
  }

  protected override async prepare(
    options: ImageToImageOptions,
  ): Promise<{ size: Sizing; sampling: SamplerOptions }> {
    const image = await openImage(options.image, 'image');
    return { size: sizeFor(this.model, image), sampling: strengthOptions(this.model, options.strength) };
  }

  protected override async start(context: StartContext<ImageToImageOptions>): Promise<Start> {
    const { options, request, noise, signal } = context;
    const { model } = this;
    const planes = (await openImage(options.image, 'image')).rgb(request.width, request.height);
    using clean = await encodePlanes(model, planes, request, noise, signal);
    using drawn = uploadTensor(model.engine, request.shape, startNoise(model, context), 'noise');
    return { latents: await noised(model, clean, drawn, request.plan.steps[0]!.noised) };
  }
}

/** The model's encoder. Throws `ModelFolderError` where it has none. */
export function encoderOf({ encoder }: DiffusionModel): LatentEncoder {
  if (encoder) return encoder;
  throw new ModelFolderError(
    'vae_encoder/model.onnx',
    'is missing, and pictures cannot be turned into latents without it. Add it to the folder, or use TextToImagePipeline.',
  );
}

/** A picture's own size, rounded down to what the model takes. */
export function sizeFor(model: DiffusionModel, { width, height }: OpenedImage): Sizing {
  const multiple = sizeMultiple(model);
  const fit = (pixels: number): number => Math.max(multiple, Math.floor(pixels / multiple) * multiple);
  return { width: fit(width), height: fit(height) };
}

/** What `strength` asks of the sampler: consistency models shorten the schedule that they take their steps from. */
export function strengthOptions({ denoiser }: DiffusionModel, strength = 0.8): SamplerOptions {
  share('strength', strength);
  const isConsistency = denoiser.inputs.some(({ name }) => name === 'timestep_cond');
  return isConsistency ? { scheduleStrength: strength } : { strength };
}

/** Latents of a picture, sampled with the noise that diffusers draws for it. */
export function encodePlanes(
  model: DiffusionModel,
  { data, channels, width, height }: Planes,
  { shape, images }: ResolvedRequest,
  noise: NoiseSource,
  signal: AbortSignal | undefined,
): Promise<Tensor<'float32'>> {
  const planes = new Tensor(
    'float32',
    [1, channels, height, width],
    Float32Array.from(data, (value) => value * 2 - 1),
  );
  const drawn = noise.next([noise.perImage ? images : 1, ...shape.slice(1)]);
  return encoderOf(model).encode(planes, drawn, signal);
}
