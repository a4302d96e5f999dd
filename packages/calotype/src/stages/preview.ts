import type { Engine, Tensor } from '@calotype/core';
import type { StageKernels } from './kernels.ts';
import { bufferOf, paddedBytes, uploadTensor } from './memory.ts';

/**
 * Colours (red, green, blue from -1 to 1) that one unit of each latent channel adds. Found by least squares between latents
 * and pictures; ComfyUI's `latent_formats.py` lists the same for these autoencoders.
 */
const colours: Readonly<Record<string, readonly (readonly [number, number, number])[]>> = {
  'stable-diffusion': [
    [0.3512, 0.2297, 0.3227],
    [0.325, 0.4974, 0.235],
    [-0.2829, 0.1762, 0.2721],
    [-0.212, -0.2616, -0.7177],
  ],
  'stable-diffusion-xl': [
    [0.3651, 0.4232, 0.4341],
    [-0.2533, -0.0042, 0.1068],
    [0.1076, 0.1111, -0.0362],
    [-0.3165, -0.2492, -0.2188],
  ],
};

/** Pictures of latents that cost next to nothing: no decoder runs, each latent becomes one pixel. */
export class Previewer {
  readonly #engine: Engine;
  readonly #kernels: StageKernels;
  readonly #family: string;
  #factors: Tensor | undefined;
  #channels = 0;

  /** @param family name of the model's family */
  constructor(engine: Engine, kernels: StageKernels, family: string) {
    this.#engine = engine;
    this.#kernels = kernels;
    this.#family = family;
  }

  /**
   * The first image of latents [images, channels, height, width], as they are when this is called; `undefined` where the
   * colours of the family's latents are not known. Nothing waits for it.
   */
  async render(latents: Tensor<'float32'>): Promise<ImageBitmap | undefined> {
    const [, channels, height, width] = latents.shape as [number, number, number, number];
    const factors = this.#factorsFor(channels);
    if (!factors) return undefined;
    const plane = height * width;
    const kernel = await this.#kernels.get('preview');
    const { buffers, readBack } = this.#engine;
    const pixels = buffers.acquire(paddedBytes(plane), 'preview');
    try {
      kernel({ x: bufferOf(latents), factors: bufferOf(factors), y: pixels }, { plane, channels }, plane);
      const bytes = await readBack.read(pixels, plane * 4);
      return await createImageBitmap(new ImageData(new Uint8ClampedArray(bytes.buffer), width, height));
    } finally {
      buffers.release(pixels);
    }
  }

  #factorsFor(channels: number): Tensor | undefined {
    const table = colours[this.#family];
    if (table?.length !== channels) return undefined;
    if (this.#channels !== channels) {
      this.#factors?.dispose();
      // From [-1, 1] to [0, 1].
      const values = [...table.flat().map((value) => value / 2), 0.5, 0.5, 0.5];
      const shape = [channels + 1, 3];
      this.#factors = uploadTensor(this.#engine, shape, Float32Array.from(values), 'preview colours');
      this.#channels = channels;
    }
    return this.#factors;
  }

  dispose(): void {
    this.#factors?.dispose();
    this.#factors = undefined;
    this.#channels = 0;
  }
}
