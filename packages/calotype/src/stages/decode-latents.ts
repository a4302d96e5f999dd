import { Tensor, type Engine, type Session } from '@calotype/core';
import { OptionError } from '../errors.ts';
import type { StageKernels } from './kernels.ts';
import { ScalingKernelInput, type LatentScaling } from './latent-scaling.ts';
import { bufferOf, emptyTensor, paddedBytes, sizeOf, uploadTensor } from './memory.ts';
import { PictureMaker, type OutputType, type OutputTypes, type PixelRange } from './picture.ts';
import { tileAxis, type AxisTiles } from './tiles.ts';

/** How a large picture is decoded in pieces. */
export interface TilingOptions {
  /** Pixels of a tile along each axis. Default: the decoder's own size, 512 for most. */
  tileSize?: number;
  /** Pixels that neighbours have in common. Default: a quarter of a tile. */
  overlap?: number;
}

/** What a decoder's configuration tells. */
export interface DecoderFacts {
  scaling: LatentScaling;
  /** Values of black and white pixels. */
  range: PixelRange;
  /** Pixels along each axis that it was trained for: the size of tiles. */
  sampleSize: number;
  /** Pixels that a latent stands for, along each axis. */
  scaleFactor: number;
}

export interface DecodeOptions {
  signal?: AbortSignal | undefined;
  /** The picture of this index is decoded. */
  onImage?: ((index: number) => void) | undefined;
  /** Everything for it is submitted: what is submitted from now on runs after it, while it is read back. */
  onSubmitted?: ((index: number) => void) | undefined;
  tiling?: TilingOptions | undefined;
  /** What the latents are multiplied by, to bring them to the size they have without noise. Default 1. */
  factor?: number | undefined;
  /** Only these of the images. */
  images?: readonly number[] | undefined;
  /** Whether NaN and infinities in a picture are an error. Default true. */
  checked?: boolean | undefined;
}

/** Pictures whose planes are in memory: one that is decoded, one that is read back. */
export const PICTURES_AT_ONCE = 2;

/** Turns latents into pictures, one at a time: the decoder is the stage that needs most memory. */
export class LatentDecoder {
  readonly facts: DecoderFacts;
  readonly #engine: Engine;
  readonly session: Session;
  readonly #scaling: ScalingKernelInput;
  readonly #kernels: StageKernels;
  readonly #pictures: PictureMaker;

  constructor(engine: Engine, session: Session, facts: DecoderFacts, kernels: StageKernels) {
    this.facts = facts;
    this.#engine = engine;
    this.session = session;
    this.#scaling = new ScalingKernelInput(engine, facts.scaling);
    this.#kernels = kernels;
    this.#pictures = new PictureMaker(engine, kernels);
  }

  /** Uploads weights and compiles for latents of this shape, so that `decode` starts at once. */
  async prepare(shape: readonly number[], signal: AbortSignal | undefined): Promise<void> {
    using input = this.#input(shape.slice(1));
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
    const { signal, images = Array.from({ length: latents.shape[0]! }, (_, i) => i) } = options;
    const made: Promise<OutputTypes[T]>[] = [];
    try {
      for (const image of images) {
        // One picture is on its way to the CPU while the next is decoded.
        await made.at(-PICTURES_AT_ONCE);
        signal?.throwIfAborted();
        const planes = await this.planes(latents, image, options);
        const picture = this.#picture(planes, image, outputType, options);
        picture.catch(() => {});
        made.push(picture);
      }
      return await Promise.all(made);
    } catch (error) {
      for (const picture of await Promise.allSettled(made)) {
        if (picture.status === 'fulfilled' && picture.value instanceof ImageBitmap) picture.value.close();
      }
      throw error;
    }
  }

  async #picture<T extends OutputType>(
    planes: Tensor,
    image: number,
    outputType: T,
    { checked = true, onImage, onSubmitted }: DecodeOptions,
  ): Promise<OutputTypes[T]> {
    try {
      const submitted = (): void => onSubmitted?.(image);
      const { range } = this.facts;
      const picture = await this.#pictures.make(planes, outputType, { range, checked, submitted });
      onImage?.(image);
      return picture;
    } finally {
      planes.dispose();
    }
  }

  /**
   * Decodes one image to planes of colour, [1, 3, height, width], which the caller disposes of.
   *
   * @throws OptionError for tiles that do not fit the decoder; what running it throws
   */
  async planes(
    latents: Tensor<'float32'>,
    image: number,
    { signal, tiling, factor = 1 }: Pick<DecodeOptions, 'signal' | 'tiling' | 'factor'> = {},
  ): Promise<Tensor> {
    const [, ...rest] = latents.shape;
    const elements = sizeOf(rest);
    using input = this.#input(rest);
    const unscale = await this.#kernels.get('unscale');
    const { scalingFactor, shiftFactor: shift } = this.#scaling.scaling;
    const scale = (): void =>
      unscale(
        { x: bufferOf(latents), y: bufferOf(input), ...this.#scaling.buffers() },
        {
          elements,
          xFirst: image * elements,
          scale: scalingFactor / factor,
          shift,
          ...this.#scaling.params(latents.shape),
        },
        elements,
      );
    const tiles = tiling && this.#tiles(rest, tiling);
    // Not before the run is over may its input go.
    if (!tiles) return await this.#run(input, signal, scale);
    scale();
    return await this.#inTiles(input, tiles, signal);
  }

  /** The axes in tiles; `undefined` where one tile would be all. */
  #tiles(
    [, height, width]: readonly number[],
    tiling: TilingOptions,
  ): { rows: AxisTiles; columns: AxisTiles } | undefined {
    const { scaleFactor, sampleSize } = this.facts;
    const { tileSize = sampleSize } = tiling;
    const size = Math.floor(tileSize / scaleFactor);
    const overlap = Math.ceil((tiling.overlap ?? tileSize / 4) / scaleFactor);
    if (!(size >= 8)) {
      throw new OptionError(
        'tiling',
        `expected tiles of ${8 * scaleFactor} pixels or more, got ${tileSize}.`,
      );
    }
    if (!(overlap >= 1 && overlap < size)) {
      throw new OptionError(
        'tiling',
        `expected an overlap of 1 to ${tileSize - scaleFactor} pixels, got ${tiling.overlap}.`,
      );
    }
    if (height! <= size && width! <= size) return undefined;
    return {
      rows: tileAxis(height!, size, overlap, scaleFactor),
      columns: tileAxis(width!, size, overlap, scaleFactor),
    };
  }

  /** Decodes tile by tile and adds up what each counts for. */
  async #inTiles(
    input: Tensor,
    { rows, columns }: { rows: AxisTiles; columns: AxisTiles },
    signal: AbortSignal | undefined,
  ): Promise<Tensor> {
    const engine = this.#engine;
    const { scaleFactor } = this.facts;
    const [, channels, height, width] = input.shape as [number, number, number, number];
    const picture = emptyTensor(engine, [1, 3, height * scaleFactor, width * scaleFactor], 'picture');
    try {
      const clear = engine.device.createCommandEncoder({ label: 'picture' });
      clear.clearBuffer(bufferOf(picture));
      engine.device.queue.submit([clear.finish()]);
      const place = await this.#kernels.get('place');
      using tile = this.#input([channels, rows.size, columns.size]);
      using rowWeights = this.#upload(rows);
      using columnWeights = this.#upload(columns);
      for (const [i, top] of rows.starts.entries()) {
        for (const [j, left] of columns.starts.entries()) {
          signal?.throwIfAborted();
          for (let channel = 0; channel < channels; channel++) {
            place(
              { x: bufferOf(input), y: bufferOf(tile) },
              {
                rows: rows.size,
                columns: columns.size,
                xStride: width,
                xFirst: (channel * height + top) * width + left,
                yStride: columns.size,
                yFirst: channel * rows.size * columns.size,
              },
              rows.size * columns.size,
            );
          }
          using decoded = await this.#run(tile, signal);
          const [tileHeight, tileWidth] = [rows.size * scaleFactor, columns.size * scaleFactor];
          const addTile = await this.#kernels.get('add_tile', { tile: decoded.gpu!.storage });
          addTile(
            {
              tile: bufferOf(decoded),
              rows: bufferOf(rowWeights),
              columns: bufferOf(columnWeights),
              picture: bufferOf(picture),
            },
            {
              tileHeight,
              tileWidth,
              rowsFirst: i * tileHeight,
              columnsFirst: j * tileWidth,
              top: top * scaleFactor,
              left: left * scaleFactor,
              height: height * scaleFactor,
              width: width * scaleFactor,
            },
            3 * tileHeight * tileWidth,
          );
        }
      }
      return picture;
    } catch (error) {
      picture.dispose();
      throw error;
    }
  }

  #upload({ weights }: AxisTiles): Tensor {
    const all = new Float32Array(weights.length * weights[0]!.length);
    weights.forEach((own, i) => all.set(own, i * own.length));
    return uploadTensor(this.#engine, [all.length], all, 'tile weights');
  }

  /** @param before what makes the input, launched with the decoder */
  async #run(input: Tensor, signal: AbortSignal | undefined, before?: () => void): Promise<Tensor> {
    const name = this.session.inputs[0]!.name;
    const options = { ...(signal && { signal }), ...(before && { before }) };
    const outputs = await this.session.run({ [name]: input }, options);
    const [planes, ...rest] = Object.values(outputs);
    for (const tensor of rest) tensor.dispose();
    const [, channels, height, width] = planes!.shape;
    const { scaleFactor } = this.facts;
    if (
      channels === 3 &&
      height === input.shape[2]! * scaleFactor &&
      width === input.shape[3]! * scaleFactor
    ) {
      return planes!;
    }
    planes!.dispose();
    throw new OptionError(
      'decoder',
      `gives [${planes!.shape.join(', ')}] for latents [${input.shape.join(', ')}]; this model needs ${scaleFactor} pixels a latent, in three colours.`,
    );
  }

  /** Memory for the latents of one picture, under the dtype that the graph declares. */
  #input(shape: readonly number[]): Tensor {
    const one = [1, ...shape];
    const buffer = this.#engine.buffers.acquire(paddedBytes(sizeOf(one)), 'scaled latents');
    const dtype = this.session.inputs[0]?.dtype === 'float16' ? 'float16' : 'float32';
    return new Tensor(dtype, one, { engine: this.#engine, buffer, storage: 'f32' });
  }

  dispose(): void {
    this.#scaling.dispose();
  }
}
