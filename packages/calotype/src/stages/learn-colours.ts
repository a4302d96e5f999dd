import type { Engine } from '@calotype/core';
import { TorchGenerator } from '../random/index.ts';
import type { LatentDecoder } from './decode-latents.ts';
import { uploadTensor } from './memory.ts';
import type { Colour, LatentColours } from './preview.ts';

/** Latents along each axis that are decoded: 256 pixels for most decoders. */
const SAMPLE_SIZE = 32;

/** Latents between the independent values of the sample, so that it is smooth as pictures are. */
const GRAIN = 4;

/** The colours that come nearest to what a decoder makes of a small sample, which takes as long as a picture of 256 pixels. */
export async function learnColours(
  engine: Engine,
  decoder: LatentDecoder,
  channels: number,
  signal?: AbortSignal,
): Promise<LatentColours> {
  const sample = smoothNoise(channels, SAMPLE_SIZE);
  const shape = [1, channels, SAMPLE_SIZE, SAMPLE_SIZE];
  using latents = uploadTensor(engine, shape, sample, 'sample');
  using planes = await decoder.planes(latents, 0, { signal });
  const { range, scaleFactor } = decoder.facts;
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
