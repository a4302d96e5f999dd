import type { DiffusionModel } from '../model/model.ts';
import type { NoiseSource } from '../random/index.ts';
import type { DecodeOptions, OutputType, OutputTypes } from '../stages/decode-latents.ts';
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
  decode<T extends OutputType>(output: T, options: DecodeOptions = {}): Promise<OutputTypes[T][]> {
    return this.#model.decoder.decode(this.job.latents, output, options);
  }

  /** Gives all memory back. Idempotent. */
  dispose(): void {
    this.job.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
