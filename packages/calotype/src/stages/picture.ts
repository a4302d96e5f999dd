import { NumericError, type Engine, type Tensor } from '@calotype/core';
import type { StageKernels } from './kernels.ts';
import { bufferOf } from './memory.ts';

/** Form of a finished picture. All are read back once, but for bitmaps and files of more than a megapixel. */
export type OutputType = 'bitmap' | 'imageData' | 'blob';

export interface OutputTypes {
  bitmap: ImageBitmap;
  imageData: ImageData;
  blob: Blob;
}

/** Values that a decoder gives for black and for white. */
export type PixelRange = readonly [black: number, white: number];

/**
 * Pixels up to which reading back costs less than a canvas on the GPU, which the GPU's process makes anew each time: it
 * took some 30 ms for 512x512 (H100, Linux), where 4 MB come back within a millisecond of the news of NaN that is waited for
 * anyway.
 */
const READ_BACK_PIXELS = 2 ** 20;

/** Makes pictures of planes of colour on the GPU. */
export class PictureMaker {
  readonly #engine: Engine;
  readonly #kernels: StageKernels;

  constructor(engine: Engine, kernels: StageKernels) {
    this.#engine = engine;
    this.#kernels = kernels;
  }

  /**
   * @param planes [1, 3, height, width]
   * @param options.submitted called when everything is submitted, before anything is read back
   * @param options.checked whether to wait for the news that all values are finite
   * @throws NumericError where a checked picture holds NaN or infinities
   */
  async make<T extends OutputType>(
    planes: Tensor,
    outputType: T,
    options: { range: PixelRange; checked: boolean; submitted?: () => void },
  ): Promise<OutputTypes[T]> {
    const { checked, submitted } = options;
    const [black, white] = options.range;
    const { buffers, device, readBack } = this.#engine;
    const [height, width] = [planes.shape[2]!, planes.shape[3]!];
    // A software adapter's memory is the CPU's anyway, and Chromium loses the device when one draws to a canvas.
    const readsBack =
      outputType === 'imageData' ||
      width * height <= READ_BACK_PIXELS ||
      device.adapterInfo.isFallbackAdapter;
    // Copies between buffers and textures want rows at multiples of 256 bytes.
    const pitch = readsBack ? width : Math.ceil(width / 64) * 64;
    const pixels = buffers.acquire(Math.ceil((pitch * height * 4) / 16) * 16, 'pixels');
    const fault = buffers.acquire(16, 'fault');
    try {
      device.queue.writeBuffer(fault, 0, new Uint32Array(4));
      const toPixels = await this.#kernels.get('to_pixels', { planes: planes.gpu!.storage });
      toPixels(
        { planes: bufferOf(planes), pixels, fault },
        { width, height, pitch, scale: 1 / (white - black), shift: -black / (white - black) },
        width * height,
      );
      submitted?.();
      let picture: ImageBitmap | ImageData | Blob;
      // Asked for at once: a second wait would be for all that is submitted during the first.
      const reading = readsBack ? readBack.read(pixels, width * height * 4) : undefined;
      const checking = checked ? readBack.read(fault, 4) : undefined;
      checking?.catch(() => {});
      if (reading) {
        const bytes = await reading;
        const data = new ImageData(new Uint8ClampedArray(bytes.buffer), width, height);
        picture = outputType === 'imageData' ? data : await fromImageData(data, outputType);
      } else {
        const canvas = this.#draw(pixels, width, height, pitch);
        picture = outputType === 'bitmap' ? canvas.transferToImageBitmap() : await toPng(canvas);
      }
      if (checking) {
        const [faulty] = new Uint32Array((await checking).buffer);
        if (faulty) {
          throw new NumericError(
            'picture',
            "The model overflowed at this precision. Load it with precision: 'f32', or use a decoder made for float16.",
          );
        }
      }
      return picture as OutputTypes[T];
    } finally {
      buffers.release(pixels);
      buffers.release(fault);
    }
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
