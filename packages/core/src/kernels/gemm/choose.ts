import { isProcessor, type Capabilities, type Precision } from '../../plan/capabilities.ts';
import type { DirectTile } from './direct.ts';
import { chooseMatrixTile, hasMatrices } from './choose-matrix.ts';
import { chooseFma } from './choose-fma.ts';
import type { FmaTile } from './fma.ts';
import { GEMV_ROWS, type GemvShape } from './gemv.ts';
import type { MatrixChoice } from './matrix-layout.ts';
import { gemmFlops } from './output.ts';
import { multipliedColumns, type GemmProblem } from './problem.ts';
import { readsByElement } from './sources.ts';
import { chooseWinograd, type WinogradShape } from './winograd.ts';

/** How a product is computed. */
export type GemmChoice =
  | { kind: 'gemv'; shape: GemvShape }
  | { kind: 'direct'; tile: DirectTile }
  | ({ kind: 'winograd' } & WinogradShape)
  /** `slices`: workgroups that share the depth of one tile. */
  | { kind: 'fma'; tile: FmaTile; slices: number }
  | ({ kind: 'matrix'; slices: number } & MatrixChoice);

/** @param winogradFits whether the product is a convolution that `winograd.ts` can compute */
export function chooseGemm(
  problem: GemmProblem,
  capabilities: Capabilities,
  precision: Precision,
  winogradFits = false,
): GemmChoice {
  const rowsOfB = problem.b.kind === 'weight' || problem.b.layout === 'kn';
  if (isProcessor(capabilities)) return { kind: 'direct', tile: directTile(problem) };
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
  const { tile, slices, seconds } = chooseFma(problem, capabilities);
  const winograd = winogradFits ? chooseWinograd(problem, capabilities, seconds) : undefined;
  return winograd ? { kind: 'winograd', ...winograd } : { kind: 'fma', tile, slices };
}

/**
 * Below that much work 4x4 tiles: they compile in 0.1 s where 8x8 tiles take 0.3 (SwiftShader), which a product this small, at some
 * 3 GFLOP/s, makes good in hundreds of runs.
 */
const SMALL_FLOPS = 4e6;

function directTile(problem: GemmProblem): DirectTile {
  const columns = multipliedColumns(problem);
  const isSmall = gemmFlops(problem) < SMALL_FLOPS;
  const isWide = problem.gate !== undefined || (!isSmall && (columns % 8 === 0 || columns > 16));
  const threadColumns = isWide ? 8 : 4;
  const lanes = Math.min(4, 2 ** Math.floor(Math.log2(columns / threadColumns)));
  const threadRows = readsByElement(problem) ? 2 : Math.min(isSmall ? 4 : 8, problem.rows);
  return { threadRows, threadColumns, lanes, rowLanes: 4 / lanes };
}
