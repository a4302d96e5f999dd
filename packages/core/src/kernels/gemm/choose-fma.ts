import type { Capabilities } from '../../plan/capabilities.ts';
import { fmaBytes, type FmaTile } from './fma.ts';
import { batchSize, multipliedColumns, partialBytes, type GemmProblem } from './problem.ts';

/** A tile with what was measured of it in SD 1.5's UNet on an H200. */
interface RatedTile {
  tile: FmaTile;
  /** Multiply-adds a second of one workgroup: latency, not arithmetic, bounds it while few are resident. */
  rate: number;
  /** Workgroups a multiprocessor holds at once. */
  resident: number;
}

/** Tiles of the f32 back end, from large to small: [rows, columns, depth, thread's rows, thread's columns]. */
export const fmaTiles: Readonly<Record<FmaTileName, FmaTile>> = {
  large: fmaTile(128, 128, 16, 16, 8),
  medium: fmaTile(64, 64, 16, 8, 8),
  small: fmaTile(32, 32, 16, 4, 8),
  /** Results of few columns: images with 3 or 4 channels. */
  narrow8: fmaTile(128, 8, 16, 4, 8),
  narrow16: fmaTile(128, 16, 16, 8, 8),
};

export type FmaTileName = 'large' | 'medium' | 'small' | 'narrow8' | 'narrow16';

const wide: readonly RatedTile[] = [
  { tile: fmaTiles.large, rate: 6.2e10, resident: 2 },
  { tile: fmaTiles.medium, rate: 1.3e10, resident: 8 },
  { tile: fmaTiles.small, rate: 4e9, resident: 16 },
];

/** Multiprocessors of an H100; smaller cards are filled all the sooner. */
const MULTIPROCESSORS = 132;

/** Seconds that the second dispatch of a split product takes at least. */
const REDUCE_SECONDS = 2e-6;

/** Bytes a second that partial sums are written and read back with. */
const REDUCE_BANDWIDTH = 4.2e12;

/** A slice of the depth should still be a real piece of work. */
const MIN_SLICE_DEPTH = 64;

/** The tile and split with the lowest estimated time. */
export function chooseFma(problem: GemmProblem, { limits }: Capabilities): { tile: FmaTile; slices: number } {
  const columns = multipliedColumns(problem);
  const narrow = columns <= 8 ? fmaTiles.narrow8 : columns <= 16 ? fmaTiles.narrow16 : undefined;
  const candidates = narrow ? [{ tile: narrow, rate: 4e9, resident: 8 }] : wide;
  let best = { tile: candidates[0]!.tile, slices: 1, seconds: Infinity };
  for (const candidate of candidates) {
    // The largest wants a little more than what WebGPU promises.
    if (fmaBytes(candidate.tile) > limits.maxComputeWorkgroupStorageSize) continue;
    for (const slices of [1, 2, 3, 4, 6, 8, 12, 16]) {
      // A gate needs whole sums.
      if (slices > 1 && (problem.gate || problem.output.part || problem.depth / slices < MIN_SLICE_DEPTH))
        break;
      if (slices > 1 && partialBytes(problem, slices) > limits.maxStorageBufferBindingSize) break;
      const seconds = secondsOf(problem, columns, candidate, slices);
      if (seconds < best.seconds) best = { tile: candidate.tile, slices, seconds };
    }
  }
  return { tile: best.tile, slices: best.slices };
}

function secondsOf(problem: GemmProblem, columns: number, rated: RatedTile, slices: number): number {
  const { tileRows, tileColumns } = rated.tile;
  const tiles = Math.ceil(problem.rows / tileRows) * Math.ceil(columns / tileColumns) * batchSize(problem);
  const rounds = Math.ceil((tiles * slices) / (MULTIPROCESSORS * rated.resident));
  const work = (rounds * tileRows * tileColumns * problem.depth) / slices / rated.rate;
  return work + (slices > 1 ? REDUCE_SECONDS + (2 * partialBytes(problem, slices)) / REDUCE_BANDWIDTH : 0);
}

function fmaTile(
  tileRows: number,
  tileColumns: number,
  tileDepth: number,
  threadRows: number,
  threadColumns: number,
): FmaTile {
  return { tileRows, tileColumns, tileDepth, threadRows, threadColumns };
}
