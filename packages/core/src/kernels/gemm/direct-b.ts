import { integerPieces } from './integer-source.ts';
import { range, type GemmProblem, type PackedIntegers, type PreparedB } from './problem.ts';
import type { SourceCode } from './source-code.ts';
import { bSource } from './sources.ts';

/** How a thread of a direct kernel reads its columns of B: code of the source, and statements of the kernel. */
export interface DirectB {
  code: SourceCode;
  /** Before the loop over tiles of depth. */
  start: string;
  /** At the start of the tile from `k0` on. */
  tile: string;
  /**
   * WGSL of the four values that `e` names of group `j` of four columns: row `k0 + k + e` (`kn`), or rows `k0 + k … k0 + k + 3` of
   * column `e` (`nk`).
   */
  four(j: number, e: number): string;
}

/**
 * @param groups groups of four columns of a thread, of which group `j` begins at `sJ`
 * @param tileDepth what `directDepth` says
 */
export function directB(
  problem: GemmProblem,
  b: PreparedB,
  groups: number,
  tileDepth: number,
  native: boolean,
): DirectB {
  const pieces = b.integers && wholePieces(problem, b, b.integers, tileDepth);
  if (pieces) {
    const count = 4 * groups;
    // In loops, so that what finds a column and its piece is compiled once.
    return {
      code: pieces,
      start: `let firsts = array<u32, ${groups}>(${range(groups)
        .map((j) => `s${j}`)
        .join(', ')});
  var columns: array<BColumn, ${count}>;
  var b_pieces: array<BPiece, ${count}>;
  for (var j = 0u; j < ${count}u; j++) {
    columns[j] = b_column(batch, min(firsts[j / 4u] + j % 4u, params.b_columns - 1u), 0u);
  }
  ${range(count)
    .map((i) => `let cb${i} = columns[${i}];`)
    .join(' ')}`,
      tile: `let b_tile = b_step(k0);
    for (var j = 0u; j < ${count}u; j++) { b_pieces[j] = b_fetch(columns[j], b_tile); }
    ${range(count)
      .map((i) => `let vb${i} = b_pieces[${i}];`)
      .join(' ')}`,
      four: (j, e) => pieces.groupAt(`cb${4 * j + e}`, `vb${4 * j + e}`, 'k'),
    };
  }
  return {
    code: bSource(problem, b, 4, native),
    start: '',
    tile: '',
    four: (j, e) =>
      b.layout === 'kn'
        ? `b_unpack4(b_fetch4(batch, k0 + k + ${e}u, s${j}))`
        : `b_unpack4(b_fetch4(batch, k0 + k, s${j} + ${e}u))`,
  };
}

/** Integers as pieces of a tile, where those are words enough and have one scale each. */
function wholePieces(
  problem: GemmProblem,
  b: PreparedB,
  integers: PackedIntegers,
  tileDepth: number,
): ReturnType<typeof integerPieces> | undefined {
  if ((tileDepth * integers.bits) / 32 < 2) return undefined;
  const pieces = integerPieces(problem, b, integers, tileDepth, 4, false);
  return pieces.span === tileDepth && pieces.oneScale ? pieces : undefined;
}
