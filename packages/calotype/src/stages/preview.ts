import type { Engine, Tensor } from '@calotype/core';
import type { LatentDecoder } from './decode-latents.ts';
import type { StageKernels } from './kernels.ts';
import { bufferOf, emptyTensor, uploadTensor } from './memory.ts';
import { PictureMaker } from './picture.ts';

/** Red, green and blue, from -1 to 1. */
export type Colour = readonly [number, number, number];

/** Colours of latents: the sum of what each channel's value adds, and of the bias. */
export interface LatentColours {
  /** What one unit of each channel adds. */
  factors: readonly Colour[];
  bias: Colour;
}

/**
 * Of families whose folders do not tell. Found by least squares between latents and pictures; ComfyUI's `latent_formats.py`
 * lists the same for these autoencoders.
 */
const known: Readonly<Record<string, LatentColours>> = {
  'stable-diffusion': {
    factors: [
      [0.3512, 0.2297, 0.3227],
      [0.325, 0.4974, 0.235],
      [-0.2829, 0.1762, 0.2721],
      [-0.212, -0.2616, -0.7177],
    ],
    bias: [0, 0, 0],
  },
  'stable-diffusion-xl': {
    factors: [
      [0.3651, 0.4232, 0.4341],
      [-0.2533, -0.0042, 0.1068],
      [0.1076, 0.1111, -0.0362],
      [-0.3165, -0.2492, -0.2188],
    ],
    bias: [0, 0, 0],
  },
};

/** The colours of a family's latents, where they are known. */
export function coloursOf(family: string): LatentColours | undefined {
  return known[family];
}

/**
 * Pictures of latents that cost next to nothing: no decoder runs, each latent becomes one pixel, whose colour is a linear
 * function of it. Where neither the model's folder nor its family tells it, it is learnt from the model's own decoder, by least
 * squares over one decoded sample, so that it suits any number of channels.
 */
export class Previewer {
  readonly #engine: Engine;
  readonly #kernels: StageKernels;
  readonly #decoder: LatentDecoder;
  readonly #colours: LatentColours | undefined;
  readonly #pictures: PictureMaker;
  /** [channels + 1, 3], the bias last. */
  #projection: Promise<Tensor> | undefined;
  #found: Tensor | undefined;

  /** @param colours of the latents, where they are known */
  constructor(
    engine: Engine,
    kernels: StageKernels,
    decoder: LatentDecoder,
    colours: LatentColours | undefined,
  ) {
    this.#engine = engine;
    this.#kernels = kernels;
    this.#decoder = decoder;
    this.#colours = colours;
    this.#pictures = new PictureMaker(engine, kernels);
  }

  /** Finds the colours, once for a model. Where they have to be learnt, a small sample is decoded and read back. */
  async prepare(channels: number, signal?: AbortSignal): Promise<void> {
    const finding = (this.#projection ??= this.#find(channels, signal));
    try {
      this.#found = await finding;
      await this.#kernels.get('latent_rgb');
      await this.#kernels.get('to_pixels');
    } catch (error) {
      if (this.#projection === finding) this.#projection = undefined;
      throw error;
    }
  }

  /**
   * One image of latents [images, channels, height, width], as they are when this is called. Nothing waits for it. After
   * `prepare` it is launched before this returns, so that it may go with others (`Launches.together`).
   *
   * @param factor what the latents are multiplied by, to bring them to the size they have without noise
   * @returns as many pixels as latents
   */
  async render(latents: Tensor<'float32'>, image = 0, factor = 1): Promise<ImageBitmap> {
    const [, channels, height, width] = latents.shape as [number, number, number, number];
    if (!this.#found) await this.prepare(channels);
    const projection = this.#found!;
    const plane = height * width;
    using planes = emptyTensor(this.#engine, [1, 3, height, width], 'preview');
    const latentRgb = this.#kernels.ready('latent_rgb')!;
    const before = (): void =>
      latentRgb(
        { x: bufferOf(latents), projection: bufferOf(projection), planes: bufferOf(planes) },
        { plane, channels, xFirst: image * channels * plane, scale: factor },
        3 * plane,
      );
    // Not before the picture is made may its planes go.
    return await this.#pictures.make(planes, 'bitmap', { range: [-1, 1], checked: false, before });
  }

  async #find(channels: number, signal: AbortSignal | undefined): Promise<Tensor> {
    const { factors, bias } =
      this.#colours?.factors.length === channels ? this.#colours : await this.#learn(channels, signal);
    const projection = Float32Array.from([...factors, bias].flat());
    return uploadTensor(this.#engine, [channels + 1, 3], projection, 'preview colours');
  }

  async #learn(channels: number, signal: AbortSignal | undefined): Promise<LatentColours> {
    // Most models say their colours, or their families do: the others fetch the code.
    const { learnColours } = await import('./learn-colours.ts');
    return learnColours(this.#engine, this.#decoder, channels, signal);
  }

  dispose(): void {
    void this.#projection?.then(
      (projection) => projection.dispose(),
      () => {},
    );
    this.#projection = undefined;
    this.#found = undefined;
  }
}
