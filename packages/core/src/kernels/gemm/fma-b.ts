import { copies } from './copies.ts';
import type { FmaTile } from './fma.ts';
import { integerPieces, pieceCopies } from './integer-source.ts';
import { range, type GemmProblem, type PackedIntegers, type PreparedB } from './problem.ts';
import type { SourceCode } from './source-code.ts';
import { bSource } from './sources.ts';

/** How B comes to `tile_b`, rows of depth in groups of four columns: code of its source, and statements of the kernel. */
export interface FmaB {
  code: SourceCode;
  /** Before the loop: what each thread copies in every tile. */
  start: string;
  /** Read the tile of depth from `k0` on into registers. */
  fetch: readonly string[];
  /** Store what was read. */
  put: readonly string[];
}

/** @param native whether WGSL's `f16` may be used */
export function fmaB(
  problem: GemmProblem,
  b: PreparedB,
  tile: FmaTile,
  threads: number,
  native: boolean,
): FmaB {
  return b.integers
    ? integers(problem, b, b.integers, tile, threads)
    : floats(problem, b, tile, threads, native);
}

/** Groups of four, as they lie. */
function floats(
  problem: GemmProblem,
  b: PreparedB,
  { tileColumns, tileDepth }: FmaTile,
  threads: number,
  native: boolean,
): FmaB {
  const alongDepth = b.layout === 'nk';
  const inner = (alongDepth ? tileDepth : tileColumns) / 4;
  const slots = copies((tileColumns * tileDepth) / 4, threads);
  return {
    code: bSource(problem, b, tileDepth, native),
    start: slots
      .map(
        (_, i) => `let ob${i} = (${i * threads}u + lane) / ${inner}u;
  let ib${i} = (${i * threads}u + lane) % ${inner}u;
  var vb${i} = BPiece4();`,
      )
      .join('\n  '),
    fetch: slots.map(({ guard }, i) =>
      alongDepth
        ? `${guard}{ vb${i} = b_fetch4(batch, k0 + ib${i} * 4u, n0 + ob${i}); }`
        : `${guard}{ if (n0 + ib${i} * 4u < params.b_columns) { vb${i} = b_fetch4(batch, k0 + ob${i}, n0 + ib${i} * 4u); } }`,
    ),
    put: slots.map(({ guard }, i) =>
      alongDepth
        ? `${guard}{ let v = b_unpack4(vb${i}); ${putColumn(`ib${i} * 4u`, `ob${i}`)} }`
        : `${guard}{ tile_b[ob${i}][ib${i}] = b_unpack4(vb${i}); }`,
    ),
  };
}

/** Pieces of up to 16 bytes of integers. */
function integers(
  problem: GemmProblem,
  b: PreparedB,
  packed: PackedIntegers,
  tile: FmaTile,
  threads: number,
): FmaB {
  const pieces = integerPieces(problem, b, packed, tile.tileDepth, 4, false);
  const { slots, fetch } = pieceCopies(pieces, tile, threads);
  return {
    code: pieces,
    start: slots.map(({ start }) => start).join('\n  '),
    fetch: fetch('k0'),
    put: slots.map(({ guard }, i) => {
      const groups = range(pieces.span / 4).map(
        (g) =>
          `{ let v = ${pieces.group(`cb${i}`, `vb${i}`, g)}; ${putColumn(`kb${i} + ${4 * g}u`, `nb${i}`)} }`,
      );
      return `${guard}{ ${groups.join('\n      ')} }`;
    }),
  };
}

/** Stores `v`, four depths of a column. */
function putColumn(k: string, n: string): string {
  return range(4)
    .map((e) => `tile_b[${k} + ${e}u][${n} >> 2u][${n} & 3u] = v[${e}];`)
    .join(' ');
}
