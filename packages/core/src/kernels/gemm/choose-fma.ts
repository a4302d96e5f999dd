import type { Capabilities } from '../../plan/capabilities.ts';
import { fmaBytes, type FmaTile } from './fma.ts';
import { batchSize, multipliedColumns, partialBytes, type GemmProblem } from './problem.ts';

/** A tile with what was measured of it in SD 1.5's UNet on an H200 and an H100. */
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
  // More fit, but together they are no faster.
  { tile: fmaTiles.medium, rate: 1.98e10, resident: 5 },
  { tile: fmaTiles.small, rate: 7.4e9, resident: 10 },
];

/** Multiprocessors of an H100; smaller cards are filled all the sooner. */
const MULTIPROCESSORS = 132;

/** Seconds that the second dispatch of a split product takes at least. */
const REDUCE_SECONDS = 2e-6;

/** Bytes a second that partial sums are written and read back with. */
const REDUCE_BANDWIDTH = 3.4e12;

/** A slice of the depth should still be a real piece of work. */
const MIN_SLICE_DEPTH = 64;

export interface FmaEstimate {
  tile: FmaTile;
  slices: number;
  seconds: number;
}

/** The tile and split with the lowest estimated time. */
export function chooseFma(problem: GemmProblem, capabilities: Capabilities): FmaEstimate {
  return rankFma(problem, capabilities)[0]!;
}

/** Tiles, each with the split that suits it best, from the lowest estimated time to the highest. */
export function rankFma(problem: GemmProblem, { limits }: Capabilities): FmaEstimate[] {
  const columns = multipliedColumns(problem);
  const narrow = columns <= 8 ? fmaTiles.narrow8 : columns <= 16 ? fmaTiles.narrow16 : undefined;
  const candidates = narrow ? [{ tile: narrow, rate: 4e9, resident: 8 }] : wide;
  const ranked: FmaEstimate[] = [];
  for (const candidate of candidates) {
    // The largest wants a little more than what WebGPU promises.
    if (fmaBytes(candidate.tile) > limits.maxComputeWorkgroupStorageSize) continue;
    let best = { tile: candidate.tile, slices: 1, seconds: Infinity };
    for (const slices of [1, 2, 3, 4, 6, 8, 12, 16]) {
      if (slices > 1 && (!maySplit(problem) || problem.depth / slices < MIN_SLICE_DEPTH)) break;
      if (slices > 1 && partialBytes(problem, slices) > limits.maxStorageBufferBindingSize) break;
      const seconds = secondsOf(problem, columns, candidate, slices);
      if (seconds < best.seconds) best = { tile: candidate.tile, slices, seconds };
    }
    ranked.push(best);
  }
  return ranked.toSorted((a, b) => a.seconds - b.seconds);
}

/** Whether partial sums have a place from which a second dispatch finishes them. */
export function maySplit({ gate, output, columns, batch }: GemmProblem): boolean {
  return !output.part && (!gate || (columns % 4 === 0 && output.pitch === columns && batch.length === 0));
}

function secondsOf(problem: GemmProblem, columns: number, rated: RatedTile, slices: number): number {
  const { tileRows, tileColumns } = rated.tile;
  const tiles = Math.ceil(problem.rows / tileRows) * Math.ceil(columns / tileColumns) * batchSize(problem);
  const rounds = Math.ceil((tiles * slices) / (MULTIPROCESSORS * rated.resident));
  const isWinograd = problem.a.kind === 'winograd';
  // Each element of A is made of four, once for each tile of columns.
  const reading = isWinograd ? 1 + 32 / tileColumns : 1;
  const work = (reading * rounds * tileRows * tileColumns * problem.depth) / slices / rated.rate;
  const hasSecond = slices > 1 || isWinograd;
  return work + (hasSecond ? REDUCE_SECONDS + (2 * partialBytes(problem, slices)) / REDUCE_BANDWIDTH : 0);
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
