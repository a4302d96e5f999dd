import { bytesSource, createSession, type Engine, Tensor, urlStore, type FileStore } from '@calotype/core';
import * as ort from 'onnxruntime-web/wasm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../../core/test/engine.ts';
import { float32, model, type NodeSpec, type TensorSpec } from '../../core/test/onnx-writer.ts';
import { createSampler, ModelFolderError, OptionError, TextToImagePipeline } from '../src/index.ts';
import { LatentDecoder } from '../src/stages/decode-latents.ts';
import { StageKernels } from '../src/stages/kernels.ts';
import { PictureMaker } from '../src/stages/picture.ts';
import { Previewer } from '../src/stages/preview.ts';
import { uploadTensor } from '../src/stages/memory.ts';
import { randoms } from './merged-model.ts';
import { relativeL2 } from './numbers.ts';

ort.env.wasm.numThreads = 1;

const folder = '/fixtures/tiny-sd/';
let engine: Engine;
beforeAll(async () => void (engine = await pageEngine()));
const weights = (seed: number, ...dims: number[]): TensorSpec => {
  const count = dims.reduce((size, dim) => size * dim, 1);
  return float32(dims, [...randoms(seed, count)].map((value) => value / 3)); // prettier-ignore
};
const conv = (x: string, w: string, y: string, pad: number): NodeSpec => ({
  op: 'Conv',
  inputs: [x, w],
  outputs: [y],
  attributes: { pads: { ints: [pad, pad, pad, pad] } },
});

/** A decoder of `nodes` from `z` to `y` and then each pixel `factor` times along each axis. */
function decoderModel(
  nodes: NodeSpec[],
  initializers: Record<string, TensorSpec>,
  factor: number,
): Uint8Array<ArrayBuffer> {
  return model({
    opsets: { '': 17 },
    inputs: [{ name: 'latent_sample', dtype: 'float32', shape: ['n', 4, 'h', 'w'] }],
    outputs: [{ name: 'sample', dtype: 'float32' }],
    initializers: { ...initializers, scales: float32([4], [1, 1, factor, factor]) },
    nodes: [
      ...nodes,
      {
        op: 'Resize',
        inputs: ['y', '', 'scales'],
        outputs: ['sample'],
        attributes: {
          mode: { string: 'nearest' },
          coordinate_transformation_mode: { string: 'asymmetric' },
          nearest_mode: { string: 'floor' },
        },
      },
    ],
  });
}

/** One colour a latent, linear in it. */
const linear = decoderModel([conv('latent_sample', 'w', 'y', 0)], { w: weights(1, 3, 4, 1, 1) }, 8);

const store = (files: Record<string, Uint8Array<ArrayBuffer>>): FileStore => ({
  has: async (path) => path in files,
  open: async (path) => bytesSource(path, files[path]!),
});
const json = (value: object): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

const facts = (scaleFactor: number) => ({
  scaling: { scalingFactor: 0.5, shiftFactor: 0.1, mean: [0], std: [1] },
  range: [-1, 1] as const,
  sampleSize: 512,
  scaleFactor,
});

async function wholeAndTiled(
  file: Uint8Array<ArrayBuffer>,
  scaleFactor: number,
  [height, width]: [number, number],
  tiling: { tileSize: number; overlap?: number },
): Promise<{ whole: Float32Array; tiled: Float32Array }> {
  using session = await createSession(file, { engine, precision: 'f32' });
  const kernels = new StageKernels(engine);
  const decoder = new LatentDecoder(engine, session, facts(scaleFactor), kernels);
  const shape = [2, 4, height, width];
  using latents = uploadTensor(engine, shape, randoms(3, 2 * 4 * height * width), 'latents');
  const read = async (tensor: Tensor): Promise<Float32Array> => {
    const data = (await tensor.data()) as Float32Array;
    tensor.dispose();
    return data;
  };
  const whole = await read(await decoder.planes(latents, 1));
  const tiled = await read(await decoder.planes(latents, 1, { tiling }));
  const live = engine.buffers.liveBuffers;
  (await decoder.planes(latents, 0, { tiling })).dispose();
  expect(engine.buffers.liveBuffers).toBe(live);
  decoder.dispose();
  kernels.dispose();
  return { whole, tiled };
}

describe('decoding in tiles', () => {
  test('is exact where a decoder does not see further than a quarter of the overlap', async () => {
    // Three pixels of 3 × 3 convolutions around each latent.
    const file = decoderModel(
      [
        conv('latent_sample', 'a', 'h', 1),
        { op: 'Relu', inputs: ['h'], outputs: ['r'] },
        conv('r', 'b', 'g', 1),
        conv('g', 'c', 'y', 1),
      ],
      { a: weights(1, 6, 4, 3, 3), b: weights(2, 6, 6, 3, 3), c: weights(3, 3, 6, 3, 3) },
      4,
    );
    const { whole, tiled } = await wholeAndTiled(file, 4, [40, 26], { tileSize: 80, overlap: 48 });
    expect(relativeL2(tiled, whole)).toBeLessThan(1e-6);
    // A quarter of this overlap is less than the decoder sees.
    const rough = await wholeAndTiled(file, 4, [40, 26], { tileSize: 80, overlap: 16 });
    expect(relativeL2(rough.tiled, whole)).toBeGreaterThan(1e-4);
  });

  test('comes near the whole picture where norms see a tile at a time, without a seam', async () => {
    const bytes = await (await fetch(`${folder}vae_decoder/model.onnx`)).arrayBuffer();
    const { whole, tiled } = await wholeAndTiled(new Uint8Array(bytes), 8, [24, 20], { tileSize: 96 });
    expect(relativeL2(tiled, whole)).toBeLessThan(0.25);
    // No step between neighbouring rows is much larger than in the whole picture.
    const [height, width] = [192, 160];
    const steps = (planes: Float32Array): number[] =>
      Array.from({ length: height - 1 }, (_, y) => {
        let sum = 0;
        for (let x = 0; x < width; x++) sum += planes[(y + 1) * width + x]! - planes[y * width + x]!;
        return Math.abs(sum / width);
      });
    expect(Math.max(...steps(tiled))).toBeLessThan(1.5 * Math.max(...steps(whole)));
  });

  test('refuses tiles that make no sense', async () => {
    const tiled = (tiling: { tileSize: number; overlap?: number }) =>
      wholeAndTiled(linear, 8, [40, 40], tiling);
    await expect(tiled({ tileSize: 32 })).rejects.toThrow(OptionError);
    await expect(tiled({ tileSize: 128, overlap: 128 })).rejects.toThrow('overlap');
  });
});

test('colours learnt from a linear decoder are that decoder', async () => {
  using session = await createSession(linear, { engine, precision: 'f32' });
  const kernels = new StageKernels(engine);
  const decoder = new LatentDecoder(engine, session, { ...facts(8), range: [0, 1] }, kernels);
  const previewer = new Previewer(engine, kernels, decoder, undefined);
  const values = randoms(9, 2 * 4 * 30);
  using latents = uploadTensor(engine, [2, 4, 5, 6], values, 'latents');
  const picture = pixelsOf(await previewer.render(latents, 1, 0.8));
  const planes = await decoder.planes(latents, 1, { factor: 0.8 });
  const large = (await planes.data()) as Float32Array;
  planes.dispose();
  expect([picture.width, picture.height]).toEqual([6, 5]);
  let most = 0;
  for (let i = 0; i < 30; i++) {
    for (let c = 0; c < 3; c++) {
      const value = large[(c * 40 + Math.floor(i / 6) * 8) * 48 + (i % 6) * 8]!;
      const byte = Math.min(1, Math.max(0, value)) * 255;
      most = Math.max(most, Math.abs(picture.data[i * 4 + c]! - byte));
    }
  }
  expect(most).toBeLessThanOrEqual(1);
  previewer.dispose();
  decoder.dispose();
  kernels.dispose();
});

test('pictures of four megapixels, two at once', async () => {
  const size = 2048;
  const plane = size * size;
  const values = new Float32Array(3 * plane);
  for (let i = 0; i < values.length; i++) values[i] = ((i * 7) % 256) / 255;
  using planes = uploadTensor(engine, [1, 3, size, size], values, 'planes');
  const kernels = new StageKernels(engine);
  const live = engine.buffers.liveBuffers;
  const pictures = new PictureMaker(engine, kernels);
  const options = { range: [0, 1], checked: true } as const;
  const [bitmap, data] = await Promise.all([
    pictures.make(planes, 'bitmap', options),
    pictures.make(planes, 'imageData', options),
  ]);
  expect(engine.buffers.liveBuffers).toBe(live);
  for (const image of [pixelsOf(bitmap), data]) {
    expect([image.width, image.height]).toEqual([size, size]);
    for (const pixel of [0, 1, size - 1, size, plane - 1]) {
      const colours = [0, 1, 2].map((c) => ((c * plane + pixel) * 7) % 256);
      expect([...image.data.subarray(4 * pixel, 4 * pixel + 4)]).toEqual([...colours, 255]);
    }
  }
  kernels.dispose();
});

function pixelsOf(image: ImageBitmap): ImageData {
  const context = new OffscreenCanvas(image.width, image.height).getContext('2d')!;
  context.drawImage(image, 0, 0);
  image.close();
  return context.getImageData(0, 0, context.canvas.width, context.canvas.height);
}

describe('a pipeline with a small decoder', () => {
  const options = {
    prompt: 'a photo of a cat',
    numInferenceSteps: 4,
    guidanceScale: 1,
    sampler: 'euler',
    seed: 5,
    width: 64,
    height: 64,
  } as const;
  const tiny = store({ 'model.onnx': linear, 'config.json': json({ _class_name: 'AutoencoderTiny' }) });
  let pipeline: TextToImagePipeline;
  let pipelineSigmas: ArrayLike<number> = [];
  beforeAll(async () => {
    pipeline = await TextToImagePipeline.fromPretrained(folder, {
      engine,
      warmUp: false,
      previewDecoder: tiny,
    });
    const sampler = createSampler('euler', pipeline.model.facts.scheduler);
    pipelineSigmas = sampler.plan({ numInferenceSteps: 4 }).sigmas!;
  });
  afterAll(() => pipeline?.dispose());

  /** What onnxruntime makes of latents with that decoder, as bytes. */
  async function expected(latents: Float32Array, range: readonly [number, number]): Promise<Float64Array> {
    const session = await ort.InferenceSession.create(linear, { executionProviders: ['wasm'] });
    const input = new ort.Tensor('float32', latents, [1, 4, 8, 8]);
    const { sample } = await session.run({ latent_sample: input });
    await session.release();
    return Float64Array.from(sample!.data as Float32Array, (value) => {
      return Math.min(1, Math.max(0, (value - range[0]) / (range[1] - range[0]))) * 255;
    });
  }

  const worst = ({ data }: ImageData, planes: Float64Array): number => {
    let most = 0;
    const pixels = planes.length / 3;
    for (let i = 0; i < pixels; i++) {
      for (let c = 0; c < 3; c++) most = Math.max(most, Math.abs(data[i * 4 + c]! - planes[c * pixels + i]!));
    }
    return most;
  };

  test('makes the final picture: latents unscaled, -1 to 1, as AutoencoderTiny says', async () => {
    let last = new Float32Array();
    const { images } = await pipeline.generate({
      ...options,
      output: 'imageData',
      decodeWith: 'previewDecoder',
      onStep: async ({ latents }) => void (last = (await latents.data()).slice()),
    });
    expect(worst(images[0]!, await expected(last, [-1, 1]))).toBeLessThanOrEqual(0.51);
  });

  test('in place of the own one, with values from 0 to 1 as the original TAESD gives them', async () => {
    let last = new Float32Array();
    using other = await TextToImagePipeline.fromPretrained(folder, {
      engine,
      warmUp: false,
      decoder: { source: store({ 'decoder/model.onnx': linear }), scalingFactor: 1, range: [0, 1] },
    });
    const { images } = await other.generate({
      ...options,
      output: 'imageData',
      onStep: async ({ latents }) => void (last = (await latents.data()).slice()),
    });
    expect(worst(images[0]!, await expected(last, [0, 1]))).toBeLessThanOrEqual(0.51);
  });

  test('shows previews every other step, by the small decoder or a pixel a latent', async () => {
    for (const [by, size] of [
      ['previewDecoder', 64],
      ['latents', 8],
    ] as const) {
      const seen: [step: number, previews: number][] = [];
      const told: number[] = [];
      const { images } = await pipeline.generate({
        ...options,
        numImages: 2,
        preview: { every: 2, by },
        onProgress: (progress) => {
          if (progress.stage === 'denoise' && progress.preview) told.push(progress.step);
        },
        onStep: ({ step, previews = [] }) => {
          seen.push([step, previews.length]);
          for (const image of previews) {
            expect([image.width, image.height]).toEqual([size, size]);
            image.close();
          }
        },
      });
      expect(told).toEqual([2, 4]);
      expect(seen).toEqual([[0, 0], [1, 2], [2, 0], [3, 2]]); // prettier-ignore
      for (const image of images) image.close();
    }
  });

  test('by the small decoder shows latents as large as they are without noise', async () => {
    let checked = 0;
    await pipeline.generate({
      ...options,
      preview: { by: 'previewDecoder' },
      output: 'imageData',
      onStep: async ({ step, latents, previews }) => {
        if (step !== 1) return;
        // Euler's latents of noise level sigma have the variance 1 + sigma².
        const sigma = pipelineSigmas[2]!;
        const scaled = (await latents.data()).map((value) => value / Math.sqrt(1 + sigma * sigma));
        expect(worst(pixelsOf(previews![0]!), await expected(scaled, [-1, 1]))).toBeLessThanOrEqual(1);
        checked++;
      },
    });
    expect(checked).toBe(1);
  });

  test('what was not loaded is not shown', async () => {
    using bare = await TextToImagePipeline.fromPretrained(urlStore(new URL(folder, location.href)), {
      engine,
      warmUp: false,
    });
    await expect(bare.generate({ ...options, decodeWith: 'previewDecoder' })).rejects.toThrow(
      ModelFolderError,
    );
    await expect(bare.generate({ ...options, preview: { by: 'previewDecoder' } })).rejects.toThrow(
      ModelFolderError,
    );
    await expect(bare.generate({ ...options, preview: { every: 0 } })).rejects.toThrow(OptionError);
    await expect(
      TextToImagePipeline.fromPretrained(folder, { engine, decoder: store({ 'other.onnx': linear }) }),
    ).rejects.toThrow(ModelFolderError);
  });
});
