import type { DiffusionModel } from '../model/model.ts';
import type { NoiseSource } from '../random/index.ts';
import { ModelFolderError } from '../errors.ts';
import type { DecodeOptions, LatentDecoder, TilingOptions } from '../stages/decode-latents.ts';
import type { OutputType, OutputTypes } from '../stages/picture.ts';
import type { DecoderChoice, PreviewOptions } from './options.ts';
import type { DenoiseCheckpoint, DenoiseJob } from '../stages/denoise-job.ts';

/** What a request needs to go on from where it was, on another device too. Can be sent to workers and stored. */
export interface GenerationCheckpoint {
  denoising: DenoiseCheckpoint;
  /** Noise drawn so far. */
  draws: number;
  /** Seed that the run was begun with. */
  seed: number | readonly number[];
}

/**
 * One request between its encoded prompt and its pictures. Whoever drives it moves `job` on, alone or together with
 * other jobs of equal `batchKey`, until it is done, then decodes.
 *
 * @example
 * using generation = await pipeline.begin({ prompt: 'a lighthouse at night' });
 * while (!generation.job.done) await pipeline.model.denoising.step([generation.job]);
 * const [picture] = await generation.decode('bitmap');
 */
export class Generation {
  readonly job: DenoiseJob;
  /** What to pass as `seed` to get the same pictures again. */
  readonly seed: number | readonly number[];
  readonly #model: DiffusionModel;
  readonly #noise: NoiseSource;

  constructor(model: DiffusionModel, job: DenoiseJob, noise: NoiseSource, seed: number | readonly number[]) {
    this.#model = model;
    this.#noise = noise;
    this.job = job;
    this.seed = seed;
  }

  /** Copies the run's state to the CPU, for `begin(options, checkpoint)`. Not while a step is under way. */
  async checkpoint(): Promise<GenerationCheckpoint> {
    const { draws } = this.#noise;
    return { denoising: await this.job.checkpoint(), draws, seed: this.seed };
  }

  /**
   * Decodes the latents as they are now.
   *
   * @throws NumericError when a picture would hold NaN or infinities; the signal's reason
   */
  decode<T extends OutputType>(
    output: T,
    options: Pick<DecodeOptions, 'signal' | 'onImage' | 'onSubmitted'> & {
      tiling?: TilingOptions | boolean | undefined;
      decodeWith?: DecoderChoice | undefined;
    } = {},
  ): Promise<OutputTypes[T][]> {
    const { tiling, decodeWith, ...rest } = options;
    const decoder = decodeWith === 'previewDecoder' ? previewDecoderOf(this.#model) : this.#model.decoder;
    return decoder.decode(this.job.latents, output, {
      ...rest,
      tiling: tiling === true ? {} : tiling === false ? undefined : tiling,
    });
  }

  /** Readies `preview`: what has to be learnt of the decoder is, once for a model. */
  async preparePreview({ by }: PreviewOptions = {}, signal?: AbortSignal): Promise<void> {
    if (!this.#previewsBy(by)) await this.#model.previewer.prepare(this.job.shape[1]!, signal);
  }

  /**
   * Whether `preview`, once prepared, only launches, before it returns: then it may go with a step (`Denoiser.step`). A preview
   * decoder submits by itself.
   */
  previewsAtOnce({ by }: PreviewOptions = {}): boolean {
    return this.#previewsBy(by) === undefined;
  }

  /** Pictures of the latents as they are now, of these images or all; see `PreviewOptions`. Nothing waits for the GPU. */
  async preview(
    { by }: PreviewOptions = {},
    options: { images?: readonly number[]; signal?: AbortSignal | undefined } = {},
  ): Promise<ImageBitmap[]> {
    const { job } = this;
    // Where noise levels are counted in sigmas, latents are as large as their noise.
    const factor = job.plan.steps[job.stepIndex]?.inputScale ?? 1;
    const decoder = this.#previewsBy(by);
    if (decoder) return decoder.decode(job.latents, 'bitmap', { ...options, factor, checked: false });
    const images = options.images ?? Array.from({ length: job.images }, (_, i) => i);
    return Promise.all(images.map((image) => this.#model.previewer.render(job.latents, image, factor)));
  }

  #previewsBy(by: PreviewOptions['by']): LatentDecoder | undefined {
    if (by === 'previewDecoder') return previewDecoderOf(this.#model);
    return by === 'latents' ? undefined : this.#model.previewDecoder;
  }

  /** Gives all memory back. Idempotent. */
  dispose(): void {
    this.job.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @throws ModelFolderError where none was loaded */
export function previewDecoderOf({ previewDecoder }: DiffusionModel): LatentDecoder {
  if (previewDecoder) return previewDecoder;
  throw new ModelFolderError(
    'model.onnx',
    'of a preview decoder was not given. Load the model with the option previewDecoder.',
  );
}
