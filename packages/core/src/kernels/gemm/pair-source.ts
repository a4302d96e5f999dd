import type { Pair } from '../../plan/joins.ts';
import type { Lowering } from '../../plan/lowering.ts';
import { u32 } from '../shader.ts';
import type { GemmProblem } from './problem.ts';
import type { Piece, SourceCode } from './source-code.ts';

/** Bindings of a product beside what finishes it: both tensors of A, B and its scales, the result. */
const BINDINGS = 5;

/** The product with A read from the two tensors that make it up, where it is joined from such and kernels can. */
export function fromPair(lowering: Lowering, problem: GemmProblem): GemmProblem {
  const { a, rows, depth, epilogue, gate } = problem;
  if (a.kind === 'winograd' || a.pair) return problem;
  const pair = lowering.pair(a.view);
  const bindings = BINDINGS + (epilogue?.operands.length ?? 0) + (gate?.bias ? 1 : 0);
  if (!pair || bindings > lowering.capabilities.limits.maxStorageBuffersPerShaderStage) return problem;
  const row = rowOf(pair);
  if (a.kind === 'convolution') {
    // Groups of a convolution are parts of rows.
    if (a.channels !== row || a.view.strides[1] !== 1) return problem;
    // Axes of one element may have any stride.
    const strides = a.view.strides.map((stride, axis) => (a.view.shape[axis] === 1 ? 0 : stride));
    return { ...problem, a: { ...a, view: { ...a.view, strides }, pair } };
  }
  const rowStride = rows > 1 ? a.rowStride : 0;
  const seesRows = depth === row && [rowStride, ...a.batchStrides].every((stride) => stride % row === 0);
  return seesRows ? { ...problem, a: { ...a, rowStride, pair } } : problem;
}

/** Elements of a row of both tensors. */
export function rowOf({ widths: [first, second] }: Pair): number {
  return first + second;
}

/** Whether no tile of depth `tileDepth` of A, or of channels, lies in both tensors. */
export function tilesLieInOne({ widths: [first] }: Pair, tileDepth: number): boolean {
  return first % tileDepth === 0;
}

/**
 * WGSL through which sources read A from two tensors:
 * - `a_place(column: u32) -> APlace`: in which of them a column of A (a channel of an image) lies, and where;
 * - `a_read(place: APlace, k: u32, row: u32) -> PIECE`: the group `k` elements after it in a row of that tensor.
 * Rows are counted in both alike, so that addresses differ by a factor only. The tensor is chosen at each read: a tile that
 * lies in one of them asks `a_place` once, and no thread of it goes another way than the others.
 */
export function pairCode({ tensors: [first, second], widths }: Pair, piece: Piece): SourceCode {
  return {
    inputs: { A: first, A_second: second },
    params: { a_first: u32(widths[0]), a_second: u32(widths[1]) },
    functions: `
struct APlace { column: u32, width: u32, in_second: bool }
fn a_place(column: u32) -> APlace {
  if (column < params.a_first) { return APlace(column, params.a_first, false); }
  return APlace(column - params.a_first, params.a_second, true);
}
fn a_read(place: APlace, k: u32, row: u32) -> ${piece.type} {
  let i = row * place.width + place.column + k;
  if (place.in_second) { return ${piece.read('A_second', 'i')}; }
  return ${piece.read('A', 'i')};
}`,
  };
}

/**
 * The same with `AStep` and `a_step`, for sources whose columns are those of A; `read(row)` is the group at `step.k0 + k` of a
 * row.
 */
export function pairByDepth(
  pair: Pair,
  piece: Piece,
  tileDepth: number,
): SourceCode & { read: (row: string) => string } {
  const code = pairCode(pair, piece);
  const isUniform = tilesLieInOne(pair, tileDepth);
  return {
    ...code,
    functions: `${code.functions}
struct AStep { k0: u32${isUniform ? ', place: APlace' : ''} }
fn a_step(k0: u32) -> AStep { return AStep(k0${isUniform ? ', a_place(k0)' : ''}); }`,
    read: (row) => (isUniform ? `a_read(step.place, k, ${row})` : `a_read(a_place(step.k0 + k), 0u, ${row})`),
  };
}
