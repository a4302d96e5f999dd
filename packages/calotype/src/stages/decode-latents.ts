import { NumericError, Tensor, type Engine, type Session } from '@calotype/core';
import type { StageKernels } from './kernels.ts';
import { ScalingKernelInput, type LatentScaling } from './latent-scaling.ts';
import { paddedBytes } from './memory.ts';

/**
 * Form of a finished picture. A bitmap never leaves the GPU, except with a software adapter; the others are read back
 * once.
 */
export type OutputType = 'bitmap' | 'imageData' | 'blob';

export interface OutputTypes {
  bitmap: ImageBitmap;
  imageData: ImageData;
  blob: Blob;
}

export interface DecodeOptions {
  signal?: AbortSignal | undefined;
  /** The picture of this index is decoded. */
  onImage?: (index: number) => void;
  /** Everything for it is submitted: what is submitted from now on runs after it, while it is read back. */
  onSubmitted?: (index: number) => void;
}

/** Turns latents into pictures, one at a time: the decoder is the stage that needs most memory. */
export class LatentDecoder {
  readonly #engine: Engine;
  readonly session: Session;
  readonly #scaling: ScalingKernelInput;
  readonly #kernels: StageKernels;

  constructor(engine: Engine, session: Session, scaling: LatentScaling, kernels: StageKernels) {
    this.#engine = engine;
    this.session = session;
    this.#scaling = new ScalingKernelInput(engine, scaling);
    this.#kernels = kernels;
  }

  /** Uploads weights and compiles for latents of this shape, so that `decode` starts at once. */
  async prepare(shape: readonly number[], signal: AbortSignal | undefined): Promise<void> {
    using input = this.#input(shape);
    await this.session.prepare({ [this.session.inputs[0]!.name]: input }, signal ? { signal } : {});
  }

  /**
   * @param latents [images, channels, height, width] on the GPU
   * @throws NumericError when a picture would hold NaN or infinities
   */
  async decode<T extends OutputType>(
    latents: Tensor<'float32'>,
    outputType: T,
    options: DecodeOptions = {},
  ): Promise<OutputTypes[T][]> {
    const [images, ...rest] = latents.shape;
    const elements = rest.reduce((product, dim) => product * dim, 1);
    const results: OutputTypes[T][] = [];
    for (let image = 0; image < images!; image++) {
      options.signal?.throwIfAborted();
      using input = this.#input(latents.shape);
      const unscale = await this.#kernels.get('unscale');
      const { scalingFactor: scale, shiftFactor: shift } = this.#scaling.scaling;
      unscale(
        { x: latents.gpu!.buffer, y: input.gpu!.buffer, ...this.#scaling.buffers() },
        { elements, xFirst: image * elements, scale, shift, ...this.#scaling.params(latents.shape) },
        elements,
      );
      const name = this.session.inputs[0]!.name;
      const outputs = await this.session.run(
        { [name]: input },
        options.signal ? { signal: options.signal } : {},
      );
      const [planes] = Object.values(outputs);
      try {
        const submitted = (): void => options.onSubmitted?.(image);
        results.push(await this.#picture(planes!, outputType, submitted));
      } finally {
        for (const tensor of Object.values(outputs)) tensor.dispose();
      }
      options.onImage?.(image);
    }
    return results;
  }

  async #picture<T extends OutputType>(
    planes: Tensor,
    outputType: T,
    submitted: () => void,
  ): Promise<OutputTypes[T]> {
    const { buffers, device, readBack } = this.#engine;
    const [height, width] = [planes.shape[2]!, planes.shape[3]!];
    // A software adapter's memory is the CPU's anyway, and Chromium loses the device when one draws to a canvas.
    const readsBack = outputType === 'imageData' || device.adapterInfo.isFallbackAdapter;
    // Copies between buffers and textures want rows at multiples of 256 bytes.
    const pitch = readsBack ? width : Math.ceil(width / 64) * 64;
    const pixels = buffers.acquire(Math.ceil((pitch * height * 4) / 16) * 16, 'pixels');
    const fault = buffers.acquire(16, 'fault');
    try {
      device.queue.writeBuffer(fault, 0, new Uint32Array(4));
      const toPixels = await this.#kernels.get('to_pixels', { planes: planes.gpu!.storage });
      toPixels(
        { planes: planes.gpu!.buffer, pixels, fault },
        { width, height, pitch, offset: 0 },
        width * height,
      );
      submitted();
      let picture: ImageBitmap | ImageData | Blob;
      if (readsBack) {
        const bytes = await readBack.read(pixels, width * height * 4);
        const data = new ImageData(new Uint8ClampedArray(bytes.buffer), width, height);
        picture = outputType === 'imageData' ? data : await fromImageData(data, outputType);
      } else {
        const canvas = this.#draw(pixels, width, height, pitch);
        picture = outputType === 'bitmap' ? canvas.transferToImageBitmap() : await toPng(canvas);
      }
      const [faulty] = new Uint32Array((await readBack.read(fault, 4)).buffer);
      if (faulty) {
        throw new NumericError(
          'picture',
          "The model overflowed at this precision. Load it with precision: 'f32', or use a decoder made for float16.",
        );
      }
      return picture as OutputTypes[T];
    } finally {
      buffers.release(pixels);
      buffers.release(fault);
    }
  }

  /** Memory for the latents of one picture out of `shape`, under the dtype that the graph declares. */
  #input(shape: readonly number[]): Tensor {
    const one = [1, ...shape.slice(1)];
    const bytes = paddedBytes(one.reduce((product, dim) => product * dim, 1));
    const buffer = this.#engine.buffers.acquire(bytes, 'scaled latents');
    const dtype = this.session.inputs[0]?.dtype === 'float16' ? 'float16' : 'float32';
    return new Tensor(dtype, one, { engine: this.#engine, buffer, storage: 'f32' });
  }

  /** Copies pixels into a canvas on the GPU. */
  #draw(pixels: GPUBuffer, width: number, height: number, pitch: number): OffscreenCanvas {
    const { device } = this.#engine;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('webgpu')!;
    context.configure({ device, format: 'rgba8unorm', usage: GPUTextureUsage.COPY_DST, alphaMode: 'opaque' });
    const encoder = device.createCommandEncoder({ label: 'picture' });
    encoder.copyBufferToTexture(
      { buffer: pixels, bytesPerRow: pitch * 4, rowsPerImage: height },
      { texture: context.getCurrentTexture() },
      [width, height],
    );
    device.queue.submit([encoder.finish()]);
    return canvas;
  }

  dispose(): void {
    this.#scaling.dispose();
  }
}

async function fromImageData(data: ImageData, outputType: OutputType): Promise<ImageBitmap | Blob> {
  if (outputType === 'bitmap') return createImageBitmap(data);
  const canvas = new OffscreenCanvas(data.width, data.height);
  canvas.getContext('2d')!.putImageData(data, 0, 0);
  return toPng(canvas);
}

function toPng(canvas: OffscreenCanvas): Promise<Blob> {
  return canvas.convertToBlob({ type: 'image/png' });
}
