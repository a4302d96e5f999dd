import type { Capabilities, Precision } from '../../plan/capabilities.ts';
import type { MatrixTile } from './matrix-layout.ts';
import { batchSize, multipliedColumns, partialBytes, type GemmProblem } from './problem.ts';

export type MatrixTileName = '128x256' | '128x128' | '128x160' | '64x160' | '64x128' | '64x64';

/** Tiles of the matrix back end that were found worth having on an H200. 160 divides the widths of SD and SDXL. */
export const matrixTiles: Readonly<Record<MatrixTileName, MatrixTile>> = {
  '128x256': matrixTile(128, 256, 32, 64, 64, 'kn'),
  '128x128': matrixTile(128, 128, 32, 64, 64, 'kn'),
  '128x160': matrixTile(128, 160, 32, 64, 80, 'kn'),
  '64x160': matrixTile(64, 160, 64, 32, 80, 'nk'),
  '64x128': matrixTile(64, 128, 64, 32, 64, 'nk'),
  '64x64': matrixTile(64, 64, 64, 32, 32, 'nk'),
};

/**
 * Speed of a multiprocessor that holds one such workgroup or two, relative to 2.3 TFLOP/s: two of 128x128 on an H200.
 * More than 24 KB of workgroup memory leave room for one alone.
 */
const speed: Readonly<Record<MatrixTileName, { one: number; two?: number }>> = {
  '128x256': { one: 1.03 },
  '128x128': { one: 0.75, two: 1 },
  '128x160': { one: 0.75, two: 0.98 },
  '64x160': { one: 0.7 },
  '64x128': { one: 0.65 },
  '64x64': { one: 0.5, two: 0.65 },
};

/** Multiprocessors of an H100; smaller cards are filled all the sooner. */
const MULTIPROCESSORS = 132;

/** Cost of the second dispatch of a split product, in multiply-adds of a multiprocessor: 2 µs. */
const REDUCE_COST = 2.3e6;

/**
 * The same for each element of each slice: 8 bytes, written and read as f32, at 4.3 TB/s for the whole card take as long
 * as 2.2 multiply-adds of one multiprocessor.
 */
const REDUCE_ELEMENT_COST = 2.2;

/** Whether products of f16 may run on 16x16 subgroup matrices. */
export function hasMatrices(
  { features, subgroupMinSize, subgroupMaxSize }: Capabilities,
  precision: Precision,
): boolean {
  return (
    precision === 'f16' &&
    features.shaderF16 &&
    subgroupMinSize === 32 &&
    subgroupMaxSize === 32 &&
    features.subgroupMatrix.some(
      ({ componentType, resultComponentType, M, N, K }) =>
        componentType === 'f16' && resultComponentType === 'f32' && M === 16 && N === 16 && K === 16,
    )
  );
}

/** A tile, and how many workgroups share its depth. */
interface SlicedTile {
  tile: MatrixTile;
  slices: number;
}

/** The tile and split with the lowest estimated time. */
export function chooseMatrixTile(problem: GemmProblem, capabilities: Capabilities): SlicedTile {
  return rankMatrixTiles(problem, capabilities)[0]!;
}

/** Tiles, each with the split that suits it best, from the lowest estimated time to the highest. */
export function rankMatrixTiles(problem: GemmProblem, { limits }: Capabilities): SlicedTile[] {
  const ranked: (SlicedTile & { cost: number })[] = [];
  for (const [name, tile] of Object.entries(matrixTiles) as [MatrixTileName, MatrixTile][]) {
    const tiles = tileCount(problem, tile);
    // Eight subgroups that wait together at every step pay only where many such workgroups follow each other.
    if (name === '128x256' && (tiles < 300 || limits.maxComputeInvocationsPerWorkgroup < 256)) continue;
    let best = { tile, slices: 1, cost: Infinity };
    for (const slices of [1, 2, 3, 4, 6, 8]) {
      if (slices > 1 && !splits(problem, tile, tiles, slices, limits.maxStorageBufferBindingSize)) break;
      const cost = costOf(problem, tile, tiles * slices, speed[name], slices);
      if (cost < best.cost) best = { tile, slices, cost };
    }
    ranked.push(best);
  }
  return ranked.toSorted((a, b) => a.cost - b.cost).map(({ tile, slices }) => ({ tile, slices }));
}

function tileCount(problem: GemmProblem, { tileRows, tileColumns }: MatrixTile): number {
  const columns = multipliedColumns(problem);
  return Math.ceil(problem.rows / tileRows) * Math.ceil(columns / tileColumns) * batchSize(problem);
}

/** Whether the depth may be shared by so many workgroups a tile. */
function splits(
  problem: GemmProblem,
  tile: MatrixTile,
  tiles: number,
  slices: number,
  bindingBytes: number,
): boolean {
  // A gate needs whole sums.
  if (problem.gate || problem.output.part) return false;
  // More than one workgroup a multiprocessor never paid for the second dispatch; each should have some rounds of work.
  return (
    tiles * slices <= MULTIPROCESSORS &&
    problem.depth / slices >= 4 * tile.tileDepth &&
    partialBytes(problem, slices) <= bindingBytes
  );
}

/** Estimated time in multiply-adds of one multiprocessor at full speed. */
function costOf(
  problem: GemmProblem,
  tile: MatrixTile,
  workgroups: number,
  { one, two }: { one: number; two?: number },
  slices: number,
): number {
  const resident = two ? 2 : 1;
  const full = Math.floor(workgroups / (resident * MULTIPROCESSORS));
  const rest = workgroups % (resident * MULTIPROCESSORS);
  const wave = resident / (two ?? one);
  // The last wave: one workgroup on each multiprocessor at most, or two on some.
  const last = rest === 0 ? 0 : rest <= MULTIPROCESSORS ? 1 / one : wave;
  const work = ((full * wave + last) * tile.tileRows * tile.tileColumns * problem.depth) / slices;
  const reduce =
    slices > 1
      ? REDUCE_COST + REDUCE_ELEMENT_COST * problem.rows * multipliedColumns(problem) * (slices + 1)
      : 0;
  return work + reduce;
}

export function matrixTile(
  tileRows: number,
  tileColumns: number,
  tileDepth: number,
  subgroupRows: number,
  subgroupColumns: number,
  layout: 'kn' | 'nk',
): MatrixTile {
  return { tileRows, tileColumns, tileDepth, subgroupRows, subgroupColumns, layout };
}
