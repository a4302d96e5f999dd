import { isProcessor, type Capabilities, type Precision } from '../../plan/capabilities.ts';
import type { DirectTile } from './direct.ts';
import { chooseMatrixTile, hasMatrices } from './choose-matrix.ts';
import type { FmaTile } from './fma.ts';
import { GEMV_ROWS, type GemvShape } from './gemv.ts';
import type { MatrixTile } from './matrix-layout.ts';
import { batchSize, multipliedColumns, type GemmProblem } from './problem.ts';
import { readsByElement } from './sources.ts';

/** How a product is computed. */
export type GemmChoice =
  | { kind: 'gemv'; shape: GemvShape }
  | { kind: 'direct'; tile: DirectTile }
  /** `slices`: workgroups that share the depth of one tile. */
  | { kind: 'fma'; tile: FmaTile; slices: number }
  | { kind: 'matrix'; tile: MatrixTile; slices: number; emulated?: boolean };

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

/** Workgroups that fill a large GPU: 132 multiprocessors on an H100. */
const FULL_GPU = 128;

/** Splitting the depth costs a second dispatch and traffic; each share should still be a real piece of work. */
const MIN_SLICE_DEPTH = 256;

export function chooseGemm(
  problem: GemmProblem,
  capabilities: Capabilities,
  precision: Precision,
): GemmChoice {
  const rowsOfB = problem.b.kind === 'weight' || problem.b.layout === 'kn';
  if (rowsOfB && isProcessor(capabilities)) return { kind: 'direct', tile: directTile(problem) };
  if (rowsOfB && problem.rows <= GEMV_ROWS) return { kind: 'gemv', shape: { lanes: 8, depthLanes: 32 } };
  const columns = multipliedColumns(problem);
  // Rows of 9 elements and the like are gathered one by one: that does not feed matrices.
  if (
    hasMatrices(capabilities, precision) &&
    columns > 16 &&
    problem.depth >= 32 &&
    !readsByElement(problem)
  ) {
    return { kind: 'matrix', ...chooseMatrixTile(problem, capabilities) };
  }
  if (columns <= 8) return withSlices(problem, fmaTiles.narrow8);
  if (columns <= 16) return withSlices(problem, fmaTiles.narrow16);
  const fitting = [fmaTiles.large, fmaTiles.medium].find(
    (tile) =>
      tileCount(problem, tile) >= FULL_GPU && columns >= tile.tileColumns && problem.rows >= tile.tileRows,
  );
  if (fitting) return { kind: 'fma', tile: fitting, slices: 1 };
  const small = problem.rows < 64 || columns < 64 || tileCount(problem, fmaTiles.medium) < FULL_GPU / 4;
  return withSlices(problem, small ? fmaTiles.small : fmaTiles.medium);
}

function directTile(problem: GemmProblem): DirectTile {
  const columns = multipliedColumns(problem);
  const threadColumns = columns % 8 === 0 || columns > 16 ? 8 : 4;
  const lanes = Math.min(4, 2 ** Math.floor(Math.log2(columns / threadColumns)));
  const threadRows = readsByElement(problem) ? 2 : Math.min(8, problem.rows);
  return { threadRows, threadColumns, lanes, rowLanes: 4 / lanes };
}

function withSlices(problem: GemmProblem, tile: FmaTile): GemmChoice {
  const tiles = tileCount(problem, tile);
  const useful = Math.min(Math.floor(FULL_GPU / tiles), Math.floor(problem.depth / MIN_SLICE_DEPTH), 16);
  return { kind: 'fma', tile, slices: problem.gate ? 1 : Math.max(1, useful) };
}

/** Workgroups that a tile size gives. */
export function tileCount(problem: GemmProblem, tile: { tileRows: number; tileColumns: number }): number {
  return (
    Math.ceil(problem.rows / tile.tileRows) *
    Math.ceil(multipliedColumns(problem) / tile.tileColumns) *
    batchSize(problem)
  );
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
