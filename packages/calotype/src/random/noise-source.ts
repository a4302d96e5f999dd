import { OptionError } from '../errors.ts';
import { TorchGenerator } from './torch-generator.ts';

/** Where a run takes its noise from, draw by draw. */
export interface NoiseOptions {
  /** One seed of torch's CPU generator, or one for each image. */
  seed: number | readonly number[];
  images: number;
  /** Takes the place of the seed's noise. */
  given?: ((draw: number) => Float32Array<ArrayBuffer>) | undefined;
}

/**
 * The random numbers of one run, in the order in which diffusers draws them: a picture's posterior sample, the start
 * noise, then what the sampler asks for. Drawing the same shapes from the same seed gives the same numbers, so a run is
 * resumed by drawing again what it had drawn.
 */
export class NoiseSource {
  readonly #options: NoiseOptions;
  readonly #generators: readonly TorchGenerator[];
  #draws = 0;

  /** @throws OptionError when there is not one seed for each image */
  constructor(options: NoiseOptions) {
    const { seed, images } = options;
    if (typeof seed !== 'number' && seed.length !== images) {
      throw new OptionError(
        'seed',
        `${seed.length} seeds for ${images} images. Give one, or one for each image.`,
      );
    }
    this.#options = options;
    this.#generators = (typeof seed === 'number' ? [seed] : seed).map((value) => new TorchGenerator(value));
  }

  /** Draws so far. */
  get draws(): number {
    return this.#draws;
  }

  /** Whether every image has a seed of its own. */
  get perImage(): boolean {
    return typeof this.#options.seed !== 'number';
  }

  /** Noise of this shape, whose first axis is the images. */
  next(shape: readonly number[]): Float32Array<ArrayBuffer> {
    const draw = this.#draws++;
    if (this.#options.given) return this.#options.given(draw);
    if (!this.perImage) return this.#generators[0]!.randn(shape);
    const parts = this.#generators.map((generator) => generator.randn([1, ...shape.slice(1)]));
    const values = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
    let at = 0;
    for (const part of parts) {
      values.set(part, at);
      at += part.length;
    }
    return values;
  }
}
