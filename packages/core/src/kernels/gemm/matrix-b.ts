import { copies, spread } from './copies.ts';
import { integerPieces, pieceCopies } from './integer-source.ts';
import type { MatrixLayout, MatrixTile } from './matrix-layout.ts';
import { range, type GemmProblem, type PackedIntegers, type PreparedB } from './problem.ts';
import type { SourceCode } from './source-code.ts';
import { bHalves } from './sources.ts';

/** How B comes to workgroup memory: code of its source, and statements of the kernel. */
export interface MatrixB {
  code: SourceCode;
  /** Before the loop: what each thread copies in every tile. */
  start: string;
  /** Reads the tile of depth from `k0` on into registers. */
  fetch(k0: string): string;
  /** Stores what was read as halves in workgroup memory. */
  put: string;
}

/** @param native whether WGSL's `f16` may be used */
export function matrixB(
  problem: GemmProblem,
  b: PreparedB,
  tile: MatrixTile,
  layout: MatrixLayout,
  native: boolean,
): MatrixB {
  return b.integers
    ? integers(problem, b, b.integers, tile, layout, native)
    : halves(problem, b, tile, layout, native);
}

/** Groups of eight halves, as they lie. */
function halves(
  problem: GemmProblem,
  b: PreparedB,
  { tileColumns, tileDepth, subgroupColumns }: MatrixTile,
  { threads, tileB, firstB, pitchB }: MatrixLayout,
  native: boolean,
): MatrixB {
  const alongDepth = b.layout === 'nk';
  const inner = alongDepth ? tileDepth / 8 : tileColumns / 8;
  const slots = copies((tileColumns * tileDepth) / 8, threads);
  return {
    code: bHalves(problem, b, tileDepth, native),
    start: slots
      .map(
        (
          _,
          i,
        ) => `let ob${i} = ${alongDepth ? spread(`((${i * threads}u + lane) / ${inner}u)`, inner) : `(${i * threads}u + lane) / ${inner}u`};
  let ib${i} = (${i * threads}u + lane) % ${inner}u;
  let nb${i} = ${alongDepth ? `min(n0 + ob${i}, params.b_columns - 1u)` : `min(n0 + ib${i} * 8u, (params.b_columns - 1u) / 8u * 8u)`};
  var vb${i} = BPiece8();`,
      )
      .join('\n  '),
    fetch: (k0) =>
      slots
        .map(
          ({ guard }, i) =>
            `${guard}{ vb${i} = ${alongDepth ? `b_fetch8(batch, ${k0} + ib${i} * 8u, nb${i})` : `b_fetch8(batch, ${k0} + ob${i}, nb${i})`}; }`,
        )
        .join('\n      '),
    put: slots
      .map(({ guard }, i) =>
        alongDepth
          ? `${guard}{ ${tileB}[${firstB}u + ob${i} / 16u][(ob${i} % 16u) * ${pitchB}u + ib${i}] = b_unpack8(vb${i}); }`
          : `${guard}{ ${tileB}[ib${i} / ${subgroupColumns / 8}u * ${tileDepth / 16}u + ob${i} / 16u][(ob${i} % 16u) * ${pitchB}u + ib${i} % ${subgroupColumns / 8}u] = b_unpack8(vb${i}); }`,
      )
      .join('\n    '),
  };
}

/**
 * Pieces of 16 bytes of integers, of which two or four groups of halves are made when they are stored. Neighbouring threads
 * take neighbouring columns, and the pitch of a column is an odd number of groups: what eight of them store at once falls on
 * different banks.
 */
function integers(
  problem: GemmProblem,
  b: PreparedB,
  packed: PackedIntegers,
  tile: MatrixTile,
  { threads, tileB, firstB, pitchB }: MatrixLayout,
  native: boolean,
): MatrixB {
  const pieces = integerPieces(problem, b, packed, tile.tileDepth, 8, native);
  const { slots, fetch } = pieceCopies(pieces, tile, threads);
  const groups = range(pieces.span / 8);
  return {
    code: pieces,
    start: slots
      .map(
        ({ start }, i) => `${start}
  let bb${i} = ${firstB}u + nb${i} / 16u;
  let ib${i} = (nb${i} % 16u) * ${pitchB}u + kb${i} / 8u;`,
      )
      .join('\n  '),
    fetch: (k0) => fetch(k0).join('\n      '),
    put: slots
      .map(({ guard }, i) => {
        const stores = groups.map(
          (g) => `${tileB}[bb${i}][ib${i} + ${g}u] = ${pieces.group(`cb${i}`, `vb${i}`, g)};`,
        );
        return `${guard}{ ${stores.join('\n      ')} }`;
      })
      .join('\n    '),
  };
}
