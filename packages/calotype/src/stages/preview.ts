import type { Engine, Tensor } from '@calotype/core';
import { TorchGenerator } from '../random/index.ts';
import type { LatentDecoder } from './decode-latents.ts';
import type { StageKernels } from './kernels.ts';
import { bufferOf, emptyTensor, uploadTensor } from './memory.ts';
import { PictureMaker } from './picture.ts';

/** Latents along each axis that are decoded to learn the projection: 256 pixels for most decoders. */
const SAMPLE_SIZE = 32;

/** Latents between the independent values of the sample, so that it is smooth as pictures are. */
const GRAIN = 4;

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
      this.#colours?.factors.length === channels ? this.#colours : await this.learn(channels, signal);
    const projection = Float32Array.from([...factors, bias].flat());
    return uploadTensor(this.#engine, [channels + 1, 3], projection, 'preview colours');
  }

  /** The colours that come nearest to what the decoder makes of a small sample, which takes as long as a picture of 256 pixels. */
  async learn(channels: number, signal?: AbortSignal): Promise<LatentColours> {
    const sample = smoothNoise(channels, SAMPLE_SIZE);
    const shape = [1, channels, SAMPLE_SIZE, SAMPLE_SIZE];
    using latents = uploadTensor(this.#engine, shape, sample, 'sample');
    using planes = await this.#decoder.planes(latents, 0, { signal });
    const { range, scaleFactor } = this.#decoder.facts;
    const [black, white] = range;
    const pixels = (await planes.data()) as ArrayLike<number>;
    const means = meanColours(pixels, SAMPLE_SIZE, scaleFactor);
    const projection = leastSquares(
      sample,
      means.map((value) => (2 * (value - black)) / (white - black) - 1),
      channels,
    );
    const row = (i: number): Colour => [...projection.subarray(3 * i, 3 * i + 3)] as unknown as Colour;
    return { factors: Array.from({ length: channels }, (_, i) => row(i)), bias: row(channels) };
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

/** Normal noise, interpolated between every `GRAIN` latents and brought back to variance 1. */
function smoothNoise(channels: number, size: number): Float32Array<ArrayBuffer> {
  const coarse = size / GRAIN + 1;
  const values = new TorchGenerator(0).randn([channels, coarse, coarse]);
  const result = new Float32Array(channels * size * size);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const [row, column] = [Math.floor(y / GRAIN), Math.floor(x / GRAIN)];
        const [v, u] = [y / GRAIN - row, x / GRAIN - column];
        const at = (i: number, j: number): number => values[(c * coarse + row + i) * coarse + column + j]!;
        const weights = [(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u];
        const norm = Math.hypot(...weights);
        result[(c * size + y) * size + x] =
          (weights[0]! * at(0, 0) +
            weights[1]! * at(0, 1) +
            weights[2]! * at(1, 0) +
            weights[3]! * at(1, 1)) /
          norm;
      }
    }
  }
  return result;
}

/** The mean colour of the pixels of each latent: [3, size, size] of [3, size · factor, size · factor]. */
export function meanColours(pixels: ArrayLike<number>, size: number, factor: number): Float64Array {
  const width = size * factor;
  const means = new Float64Array(3 * size * size);
  for (let i = 0; i < 3 * width * width; i++) {
    const x = Math.floor((i % width) / factor);
    const y = Math.floor((Math.floor(i / width) % width) / factor);
    const c = Math.floor(i / (width * width));
    means[(c * size + y) * size + x]! += pixels[i]! / factor ** 2;
  }
  return means;
}

/**
 * Weights and bias [channels + 1, 3] for which `Σ weight · latent + bias` is nearest to the colours, by the normal
 * equations and Gauss's elimination.
 */
export function leastSquares(
  latents: ArrayLike<number>,
  colours: ArrayLike<number>,
  channels: number,
): Float32Array<ArrayBuffer> {
  const samples = colours.length / 3;
  const unknowns = channels + 1;
  const at = (k: number, i: number): number => (k === channels ? 1 : latents[k * samples + i]!);
  // [unknowns, unknowns + 3]: the matrix with the three right sides.
  const rows = Array.from({ length: unknowns }, (_, a) =>
    Float64Array.from({ length: unknowns + 3 }, (__, b) => {
      let sum = 0;
      for (let i = 0; i < samples; i++) {
        sum += at(a, i) * (b < unknowns ? at(b, i) : colours[(b - unknowns) * samples + i]!);
      }
      return sum;
    }),
  );
  for (let pivot = 0; pivot < unknowns; pivot++) {
    const best = rows.slice(pivot).reduce((a, b) => (Math.abs(b[pivot]!) > Math.abs(a[pivot]!) ? b : a));
    const place = rows.indexOf(best);
    [rows[pivot], rows[place]] = [rows[place]!, rows[pivot]!];
    for (const [i, row] of rows.entries()) {
      if (i === pivot) continue;
      const share = row[pivot]! / best[pivot]!;
      for (let column = pivot; column < row.length; column++) row[column]! -= share * best[column]!;
    }
  }
  const result = new Float32Array(unknowns * 3);
  rows.forEach((row, k) => {
    for (let c = 0; c < 3; c++) result[k * 3 + c] = row[unknowns + c]! / row[k]!;
  });
  return result;
}
