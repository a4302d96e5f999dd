import type { OutputType } from '../stages/picture.ts';
import { pureNoise, startNoise } from './noise.ts';
import type { GenerateOptions } from './options.ts';
import { DiffusionPipeline, type Start, type StartContext } from './pipeline.ts';

export type TextToImageOptions<T extends OutputType = OutputType> = GenerateOptions<T>;

/**
 * Pictures from words. Runs every family: Stable Diffusion 1.x, 2.x, Turbo, XL and 3, LCM, FLUX.1 and FLUX.2; with a
 * ControlNet beside the model and a `controlImage`, to its composition.
 *
 * @example
 * using pipeline = await TextToImagePipeline.fromPretrained('/models/sd-turbo/');
 * const { images } = await pipeline.generate({ prompt: 'a red panda wearing a crown', numInferenceSteps: 4 });
 */
export class TextToImagePipeline extends DiffusionPipeline<TextToImageOptions> {
  protected override async start(context: StartContext<TextToImageOptions>): Promise<Start> {
    return { latents: pureNoise(this.model, startNoise(this.model, context), context.request) };
  }
}
