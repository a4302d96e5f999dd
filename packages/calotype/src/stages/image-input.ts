import { Tensor } from '@calotype/core';
import { OptionError } from '../errors.ts';

/**
 * A picture as pipelines take it: anything that a canvas draws, an encoded file, raw pixels, or a tensor on the CPU
 * [1, channels, height, width] with values from 0 to 1.
 */
export type ImageInput =
  ImageBitmap | ImageData | Blob | OffscreenCanvas | CanvasImageSource | Tensor<'float32'>;

/** Channels of a picture, plane after plane, 0 to 1. */
export interface Planes {
  width: number;
  height: number;
  channels: number;
  data: Float32Array<ArrayBuffer>;
}

/** A picture that is ready to be drawn, and its own size. */
export interface OpenedImage {
  width: number;
  height: number;
  /** Three planes (red, green, blue), drawn to this size. */
  rgb(width: number, height: number): Planes;
}

/**
 * Opens a picture: decodes it, where it is a file.
 *
 * @param option whose value it is
 * @throws OptionError for what is no picture
 */
export async function openImage(image: ImageInput, option: string): Promise<OpenedImage> {
  if (image instanceof Tensor) return openTensor(image, option);
  if (image instanceof ImageData)
    return opened(image.width, image.height, await createImageBitmap(image), image);
  if (image instanceof Blob) {
    const bitmap = await createImageBitmap(image).catch((cause: unknown) => {
      throw new OptionError(
        option,
        `the browser cannot decode this file (${image.type || 'of unknown type'}).`,
        cause,
      );
    });
    return opened(bitmap.width, bitmap.height, bitmap);
  }
  const { width, height } = sizeOfSource(image);
  if (!(width > 0 && height > 0))
    throw new OptionError(option, 'the picture has no size. Wait until it is loaded.');
  return opened(width, height, image);
}

/** The light of each pixel, as ITU-R 601 weighs the colours; from one plane, that plane. */
export function luminance({ width, height, channels, data }: Planes): Planes {
  if (channels === 1) return { width, height, channels, data };
  const plane = width * height;
  const light = Float32Array.from(
    { length: plane },
    (_, i) => 0.299 * data[i]! + 0.587 * data[plane + i]! + 0.114 * data[2 * plane + i]!,
  );
  return { width, height, channels: 1, data: light };
}

function opened(width: number, height: number, source: CanvasImageSource, pixels?: ImageData): OpenedImage {
  return {
    width,
    height,
    rgb: (toWidth, toHeight) => {
      if (pixels && toWidth === width && toHeight === height) return planesOf(pixels);
      const context = new OffscreenCanvas(toWidth, toHeight).getContext('2d', { willReadFrequently: true })!;
      context.imageSmoothingQuality = 'high';
      context.drawImage(source, 0, 0, toWidth, toHeight);
      return planesOf(context.getImageData(0, 0, toWidth, toHeight));
    },
  };
}

function openTensor(tensor: Tensor<'float32'>, option: string): OpenedImage {
  const [images, channels, height, width] = tensor.shape;
  const data = tensor.cpu as Float32Array<ArrayBuffer> | undefined;
  if (!data || images !== 1 || !width || !height || (channels !== 1 && channels !== 3)) {
    throw new OptionError(
      option,
      `expected a tensor on the CPU of shape [1, 3, height, width], got [${tensor.shape.join(', ')}] on the ${tensor.location.toUpperCase()}.`,
    );
  }
  return {
    width,
    height,
    rgb: (toWidth, toHeight) => {
      if (toWidth !== width || toHeight !== height) {
        throw new OptionError(
          option,
          `is of ${width} × ${height}, and tensors are not resized. Give ${toWidth} × ${toHeight}.`,
        );
      }
      return { width, height, channels, data };
    },
  };
}

function planesOf({ width, height, data }: ImageData): Planes {
  const plane = width * height;
  const planes = new Float32Array(3 * plane);
  for (let i = 0; i < plane; i++) {
    for (let channel = 0; channel < 3; channel++) planes[channel * plane + i] = data[i * 4 + channel]! / 255;
  }
  return { width, height, channels: 3, data: planes };
}

function sizeOfSource(image: Exclude<ImageInput, Tensor | ImageData | Blob>): {
  width: number;
  height: number;
} {
  if ('naturalWidth' in image) return { width: image.naturalWidth, height: image.naturalHeight };
  if ('videoWidth' in image) return { width: image.videoWidth, height: image.videoHeight };
  if ('displayWidth' in image) return { width: image.displayWidth, height: image.displayHeight };
  const { width, height } = image;
  return { width: Number(width), height: Number(height) };
}
