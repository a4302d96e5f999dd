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

/** Speed of a multiprocessor full of such tiles, relative to 128x128 (2.3 TFLOP/s each on an H200). */
const speed: Readonly<Record<MatrixTileName, number>> = {
  '128x256': 1.03,
  '128x128': 1,
  '128x160': 0.98,
  '64x160': 0.92,
  '64x128': 0.88,
  '64x64': 0.65,
};

/** Multiprocessors of an H100; smaller cards are filled all the sooner. */
const MULTIPROCESSORS = 132;

/** A workgroup alone on a multiprocessor reaches this share of what two reach together. */
const ALONE = 0.7;

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

/** The tile and split with the lowest estimated time. */
export function chooseMatrixTile(
  problem: GemmProblem,
  { limits }: Capabilities,
): { tile: MatrixTile; slices: number } {
  let best = { tile: matrixTiles['64x64'], slices: 1, cost: Infinity };
  for (const [name, tile] of Object.entries(matrixTiles) as [MatrixTileName, MatrixTile][]) {
    if (name === '128x256' && limits.maxComputeInvocationsPerWorkgroup < 256) continue;
    for (const slices of [1, 2, 3, 4, 6, 8]) {
      // A gate needs whole sums; a slice should still be some rounds of work.
      if (slices > 1 && (problem.gate || problem.output.part || problem.depth / slices < 4 * tile.tileDepth))
        break;
      if (slices > 1 && partialBytes(problem, slices) > limits.maxStorageBufferBindingSize) break;
      const cost = costOf(problem, tile, speed[name], slices);
      if (cost < best.cost) best = { tile, slices, cost };
    }
  }
  return { tile: best.tile, slices: best.slices };
}

/** Estimated time in multiply-adds of one multiprocessor at full speed. */
function costOf(problem: GemmProblem, tile: MatrixTile, speedOfTile: number, slices: number): number {
  const columns = multipliedColumns(problem);
  const tiles =
    Math.ceil(problem.rows / tile.tileRows) * Math.ceil(columns / tile.tileColumns) * batchSize(problem);
  const perWorkgroup = (tile.tileRows * tile.tileColumns * problem.depth) / slices / speedOfTile;
  const workgroups = tiles * slices;
  const full = Math.floor(workgroups / (2 * MULTIPROCESSORS));
  const rest = workgroups % (2 * MULTIPROCESSORS);
  const rounds = 2 * full + (rest === 0 ? 0 : rest <= MULTIPROCESSORS ? 1 / ALONE : 2);
  const reduce = slices > 1 ? REDUCE_COST + REDUCE_ELEMENT_COST * problem.rows * columns * (slices + 1) : 0;
  return rounds * perWorkgroup + reduce;
}

function matrixTile(
  tileRows: number,
  tileColumns: number,
  tileDepth: number,
  subgroupRows: number,
  subgroupColumns: number,
  layout: 'kn' | 'nk',
): MatrixTile {
  return { tileRows, tileColumns, tileDepth, subgroupRows, subgroupColumns, layout };
}
