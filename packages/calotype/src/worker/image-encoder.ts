import { Client, WorkerLink, type Job } from '@calotype/scheduler';
import type { GenerateResult } from '../pipelines/pipeline.ts';
import type { OutputType } from '../stages/picture.ts';

/** The jobs of the thread that encodes images. */
// A type, not an interface: only those fit the index signature of `Service`.
export type ImageService = {
  /** Makes a PNG file. The bitmap is closed. */
  encode: Job<{ image: ImageBitmap }, Blob>;
};

/** Encodes in the thread it is called in. */
export const imageService: ImageService = { encode: ({ image }) => toPng(image) };

function toPng(image: ImageBitmap): Promise<Blob> {
  const canvas = new OffscreenCanvas(image.width, image.height);
  // Takes the bitmap over: nothing is drawn or copied.
  canvas.getContext('bitmaprenderer')!.transferFromImageBitmap(image);
  return canvas.convertToBlob({ type: 'image/png' });
}

/**
 * Makes files of pictures, in a thread of its own where this one may start any (Chromium's shared workers may not):
 * deflating a picture of 1024 pixels takes 100 ms and more, in which the GPU would get no work.
 */
export class ImageEncoder {
  #client: Client<ImageService> | undefined;

  /** Turns bitmaps into what was asked for. */
  async finish(
    result: GenerateResult<OutputType>,
    output: OutputType,
    signal: AbortSignal,
  ): Promise<GenerateResult<OutputType>> {
    if (output !== 'blob') return result;
    const images = await Promise.all(
      result.images.map((image) => this.#encode(image as ImageBitmap, signal)),
    );
    return { ...result, images };
  }

  #encode(image: ImageBitmap, signal: AbortSignal): Promise<Blob> {
    if (typeof Worker === 'undefined') return toPng(image);
    this.#client ??= new Client<ImageService>(
      new WorkerLink(
        () =>
          new Worker(new URL('./image-worker.ts', import.meta.url), {
            type: 'module',
            name: 'calotype-images',
          }),
      ),
    );
    return this.#client.call('encode', { image }, { signal });
  }

  dispose(): void {
    this.#client?.dispose();
  }
}
