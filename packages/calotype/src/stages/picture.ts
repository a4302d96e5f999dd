import { NumericError, type Engine, type Tensor } from '@calotype/core';
import type { StageKernels } from './kernels.ts';
import { bufferOf } from './memory.ts';

/** Form of a finished picture. */
export type OutputType = 'bitmap' | 'imageData' | 'blob';

export interface OutputTypes {
  bitmap: ImageBitmap;
  imageData: ImageData;
  blob: Blob;
}

/** Values that a decoder gives for black and for white. */
export type PixelRange = readonly [black: number, white: number];

/** Makes pictures of planes of colour on the GPU. */
export class PictureMaker {
  readonly #engine: Engine;
  readonly #kernels: StageKernels;

  constructor(engine: Engine, kernels: StageKernels) {
    this.#engine = engine;
    this.#kernels = kernels;
  }

  /**
   * Launches before it returns, once it has made one of planes stored as these.
   *
   * @param planes [1, 3, height, width]
   * @param options.before launches what makes the planes, in the same command buffer
   * @param options.submitted called when everything is submitted, before anything is read back
   * @param options.checked whether NaN and infinities are an error
   * @throws NumericError where a checked picture holds NaN or infinities
   */
  async make<T extends OutputType>(
    planes: Tensor,
    outputType: T,
    options: { range: PixelRange; checked: boolean; before?: () => void; submitted?: () => void },
  ): Promise<OutputTypes[T]> {
    const { checked, before, submitted } = options;
    const [black, white] = options.range;
    const { buffers, device, launches, readBack } = this.#engine;
    const [height, width] = [planes.shape[2]!, planes.shape[3]!];
    const bytes = width * height * 4;
    const pixels = buffers.acquire(Math.ceil(bytes / 16) * 16, 'pixels');
    const fault = buffers.acquire(16, 'fault');
    try {
      if (checked) device.queue.writeBuffer(fault, 0, new Uint32Array(4));
      const stored = { planes: planes.gpu!.storage };
      const toPixels =
        this.#kernels.ready('to_pixels', stored) ?? (await this.#kernels.get('to_pixels', stored));
      // The pixels and the word come together: a second wait would be for all that is submitted during the first. A canvas
      // on the GPU, which the GPU's process makes anew each time, takes longer: 47 ms instead of 15 for decoding 512x512 (H100, Linux).
      const reading = launches.together(() => {
        before?.();
        toPixels(
          { planes: bufferOf(planes), pixels, fault },
          { pixels: width * height, scale: 1 / (white - black), shift: -black / (white - black) },
          width * height,
        );
        return readBack.readAll([
          { source: pixels, bytes },
          ...(checked ? [{ source: fault, bytes: 4 }] : []),
        ]);
      });
      submitted?.();
      const [read, faults] = await reading;
      if (faults && new Uint32Array(faults.buffer)[0]) {
        throw new NumericError(
          'picture',
          "The model overflowed at this precision. Load it with precision: 'f32', or use a decoder made for float16.",
        );
      }
      const data = new ImageData(new Uint8ClampedArray(read!.buffer), width, height);
      return (await inForm(data, outputType)) as OutputTypes[T];
    } finally {
      buffers.release(pixels);
      buffers.release(fault);
    }
  }
}

async function inForm(data: ImageData, outputType: OutputType): Promise<OutputTypes[OutputType]> {
  if (outputType === 'imageData') return data;
  if (outputType === 'bitmap') return createImageBitmap(data);
  const canvas = new OffscreenCanvas(data.width, data.height);
  canvas.getContext('2d')!.putImageData(data, 0, 0);
  return canvas.convertToBlob({ type: 'image/png' });
}
