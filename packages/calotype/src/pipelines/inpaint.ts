import type { Tensor } from '@calotype/core';
import type { DiffusionModel } from '../model/model.ts';
import type { SamplerOptions } from '../samplers/index.ts';
import type { OutputType } from '../stages/picture.ts';
import type { KeptRegion } from '../stages/denoise-job.ts';
import { luminance, openImage, type ImageInput, type Planes } from '../stages/image-input.ts';
import { bufferOf, emptyTensor, sizeOf, uploadTensor } from '../stages/memory.ts';
import {
  encodePlanes,
  encoderOf,
  sizeFor,
  strengthOptions,
  type ImageToImageOptions,
} from './image-to-image.ts';
import { noised, pureNoise, startNoise } from './noise.ts';
import { DiffusionPipeline, type Sizing, type Start, type StartContext } from './pipeline.ts';
import { maskSizeError } from './request.ts';

export interface InpaintOptions<T extends OutputType = OutputType> extends ImageToImageOptions<T> {
  /** White where the picture is to be made anew, black where it stays. As large as `image`. */
  maskImage: ImageInput;
  /** How much of the masked part may change, 0 to 1; at 1 it begins from noise alone. Default 1. */
  strength?: number;
}

/**
 * Makes part of a picture anew. Models of nine input channels see the mask and what is kept; with all others what is
 * kept is put back, at its noise level, after every step.
 *
 * @example
 * using pipeline = await InpaintPipeline.fromPretrained('/models/sd-1.5-inpainting/');
 * const { images } = await pipeline.generate({ prompt: 'a cat on the bench', image, maskImage });
 */
export class InpaintPipeline extends DiffusionPipeline<InpaintOptions> {
  constructor(model: DiffusionModel) {
    super(model);
    encoderOf(model);
  }

  protected override async prepare(
    options: InpaintOptions,
  ): Promise<{ size: Sizing; sampling: SamplerOptions }> {
    const image = await openImage(options.image, 'image');
    const mask = await openImage(options.maskImage, 'maskImage');
    if (mask.width !== image.width || mask.height !== image.height) {
      throw maskSizeError(mask, image);
    }
    return { size: sizeFor(this.model, image), sampling: strengthOptions(this.model, options.strength ?? 1) };
  }

  protected override async start(context: StartContext<InpaintOptions>): Promise<Start> {
    const { options, request, noise, signal } = context;
    const { model } = this;
    const { width, height, plan } = request;
    const planes = (await openImage(options.image, 'image')).rgb(width, height);
    const pixelMask = luminance((await openImage(options.maskImage, 'maskImage')).rgb(width, height));
    // diffusers' threshold.
    const isNew = Float32Array.from(pixelMask.data, (value) => (value >= 0.5 ? 1 : 0));
    const seesMask = this.#seesMask(request.shape[1]!);
    const fromNoise = (options.strength ?? 1) === 1;
    const owned: Tensor[] = [];
    try {
      // In diffusers' order, for the sake of equal seeds: the picture's posterior, the start noise, the masked picture's.
      let known: Tensor<'float32'> | undefined;
      if (!seesMask || !fromNoise) {
        known = await encodePlanes(model, planes, request, noise, signal);
        owned.push(known);
      }
      const values = startNoise(model, context);
      const drawn = uploadTensor(model.engine, request.shape, values, 'noise');
      owned.push(drawn);
      const latents = fromNoise
        ? pureNoise(model, values, request)
        : await noised(model, known!, drawn, plan.steps[0]!.noised);
      owned.push(latents);
      const mask = this.#latentMask(isNew, request);
      owned.push(mask);
      const masked = await encodePlanes(model, withoutMasked(planes, isNew), request, noise, signal);
      owned.push(masked);
      if (!seesMask) {
        masked.dispose();
        const kept: KeptRegion = { mask, known: known!, noise: drawn };
        return { latents, kept };
      }
      const extraChannels = await this.#maskChannels(mask, masked);
      for (const tensor of owned) if (tensor !== latents) tensor.dispose();
      return { latents, extraChannels };
    } catch (error) {
      for (const tensor of owned) tensor.dispose();
      throw error;
    }
  }

  /** Whether the model takes the mask and the masked picture's latents as further channels. */
  #seesMask(latentChannels: number): boolean {
    const { graph, layout } = this.model.denoising;
    return layout.patch === 1 && graph.shapeOf(layout.sample)?.[1] === 2 * latentChannels + 1;
  }

  /** The mask at every latent's first pixel, as torch's nearest interpolation takes it. */
  #latentMask(
    isNew: Float32Array,
    { shape, width, height }: { shape: readonly number[]; width: number; height: number },
  ): Tensor<'float32'> {
    const [, , rows, columns] = shape as [number, number, number, number];
    const values = Float32Array.from({ length: rows * columns }, (_, i) => {
      const y = Math.floor((Math.floor(i / columns) * height) / rows);
      const x = Math.floor(((i % columns) * width) / columns);
      return isNew[y * width + x]!;
    });
    return uploadTensor(this.engine, [1, 1, rows, columns], values, 'mask');
  }

  /** Mask and masked latents as channels of one tensor; an image's mask serves all. */
  async #maskChannels(mask: Tensor<'float32'>, masked: Tensor<'float32'>): Promise<Tensor<'float32'>> {
    const [images, channels, height, width] = masked.shape as [number, number, number, number];
    const plane = height * width;
    const place = await this.model.kernels.get('place');
    const result = emptyTensor(this.engine, [images, 1 + channels, height, width], 'extra channels');
    const yStride = (1 + channels) * plane;
    const y = bufferOf(result);
    place(
      { x: bufferOf(mask), y },
      { rows: images, columns: plane, xStride: 0, xFirst: 0, yStride, yFirst: 0 },
      images * plane,
    );
    place(
      { x: bufferOf(masked), y },
      {
        rows: images,
        columns: channels * plane,
        xStride: channels * plane,
        xFirst: 0,
        yStride,
        yFirst: plane,
      },
      sizeOf(masked.shape),
    );
    return result;
  }
}

/** The picture with what is made anew in the middle grey that stands for nothing. */
function withoutMasked({ data, ...rest }: Planes, isNew: Float32Array): Planes {
  const masked = Float32Array.from(data, (value, i) => (isNew[i % isNew.length] === 1 ? 0.5 : value));
  return { ...rest, data: masked };
}
