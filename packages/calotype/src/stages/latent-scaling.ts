import type { Engine, Tensor } from '@calotype/core';
import { uploadTensor } from './memory.ts';

/**
 * How latents relate to what the autoencoder gives and takes, channel by channel:
 * `decoder input = latents · std / scalingFactor + shiftFactor + mean`.
 */
export interface LatentScaling {
  scalingFactor: number;
  shiftFactor: number;
  /** One value for all channels, one for each, or one for each place in a patch of 2 × 2 of each channel. */
  mean: readonly number[];
  std: readonly number[];
}

/** A model's scaling with its statistics on the GPU, as the kernels `unscale` and `posterior` take them. */
export class ScalingKernelInput {
  readonly scaling: LatentScaling;
  readonly #engine: Engine;
  #mean: Tensor | undefined;
  #std: Tensor | undefined;

  constructor(engine: Engine, scaling: LatentScaling) {
    this.#engine = engine;
    this.scaling = scaling;
  }

  /** @param shape of latents, [images, channels, height, width] */
  params(shape: readonly number[]): { width: number; plane: number; statistics: number; patchSize: number } {
    const [, channels, height, width] = shape as [number, number, number, number];
    const statistics = Math.max(this.scaling.mean.length, this.scaling.std.length);
    return { width, plane: height * width, statistics, patchSize: statistics === channels * 4 ? 2 : 1 };
  }

  buffers(): { mean: GPUBuffer; deviation: GPUBuffer } {
    const { mean, std } = this.scaling;
    const count = Math.max(mean.length, std.length);
    this.#mean ??= this.#upload(mean, count, 'latent means');
    this.#std ??= this.#upload(std, count, 'latent deviations');
    return { mean: this.#mean.gpu!.buffer, deviation: this.#std.gpu!.buffer };
  }

  dispose(): void {
    this.#mean?.dispose();
    this.#std?.dispose();
  }

  #upload(values: readonly number[], count: number, label: string): Tensor {
    const all = Float32Array.from({ length: count }, (_, i) => values[Math.min(i, values.length - 1)]!);
    return uploadTensor(this.#engine, [count], all, label);
  }
}
