import type { Tensor } from '@calotype/core';
import { OptionError } from '../errors.ts';
import type { DiffusionModel } from '../model/model.ts';
import type { OutputType } from '../stages/picture.ts';
import { bufferOf, emptyTensor, sizeOf, uploadTensor } from '../stages/memory.ts';
import type { NoiseMix } from '../samplers/index.ts';
import type { GenerateOptions } from './options.ts';
import type { StartContext } from './pipeline.ts';

/** Start noise, as given or drawn, in the layout of latents. */
export function startNoise(
  { family }: DiffusionModel,
  { options, request, noise }: StartContext<GenerateOptions<OutputType>>,
): Float32Array<ArrayBuffer> {
  const { shape } = request;
  if (!options.latents) {
    if (!family.noise) return noise.next(shape);
    return family.noise.arrange(noise.next(family.noise.shape(shape)), shape);
  }
  if (options.latents.length !== sizeOf(shape)) {
    throw new OptionError(
      'latents',
      `expected ${sizeOf(shape)} values for [${shape.join(', ')}], got ${options.latents.length}.`,
    );
  }
  return options.latents;
}

/** Noise at the level that a run from nothing begins with. */
export function pureNoise(
  model: DiffusionModel,
  values: Float32Array<ArrayBuffer>,
  { shape, plan }: StartContext<unknown>['request'],
): Tensor<'float32'> {
  const scaled = values.map((value) => value * plan.initNoiseSigma);
  return uploadTensor(model.engine, shape, scaled, 'start noise');
}

/** Clean latents with noise: `level.x0 · clean + level.noise · noise`. One image's latents serve all. */
export async function noised(
  model: DiffusionModel,
  clean: Tensor<'float32'>,
  noise: Tensor<'float32'>,
  level: NoiseMix,
): Promise<Tensor<'float32'>> {
  const mix = await model.kernels.get('mix');
  const result = emptyTensor(model.engine, noise.shape, 'start latents');
  const elements = sizeOf(noise.shape);
  mix(
    { x: bufferOf(clean), noise: bufferOf(noise), y: bufferOf(result) },
    { elements, period: sizeOf(clean.shape), x0: level.x0, noise: level.noise },
    elements,
  );
  return result;
}
