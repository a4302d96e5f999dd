import type { MatrixDialect } from '../subgroup-matrix.ts';
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
  /** Reads the tile of depth from `k0` on into a set of registers. */
  fetch(k0: string, set?: string): string;
  /** Stores what was read as halves in workgroup memory, from block `first` of its array on. */
  put(set?: string, first?: number): string;
  /** Loads matrix `j` of the subgroup's columns at step `k` of 16 of depth from there. */
  load(name: string, k: number, j: number, first?: number): string;
}

/**
 * @param native whether WGSL's `f16` may be used
 * @param sets names of the sets of registers
 */
export function matrixB(
  problem: GemmProblem,
  b: PreparedB,
  tile: MatrixTile,
  layout: MatrixLayout,
  matrices: MatrixDialect,
  native: boolean,
  sets: readonly string[] = [''],
): MatrixB {
  const copying = b.integers
    ? integers(problem, b, b.integers, tile, layout, native, sets)
    : halves(problem, b, tile, layout, native, sets);
  const { tileDepth, subgroupColumns } = tile;
  const { firstB, pitchB, tileB } = layout;
  return {
    ...copying,
    load(name, k, j, first = firstB) {
      const [block, offset] =
        b.layout === 'nk'
          ? [`sn * ${subgroupColumns / 16}u + ${first + j}u`, k * 2]
          : [`sn * ${tileDepth / 16}u + ${first + k}u`, j * 2];
      const stored = b.layout === 'nk' ? 'by column' : 'by depth';
      return matrices.right(name, tileB, block, offset, pitchB, stored);
    },
  };
}

type Copying = Omit<MatrixB, 'load'>;

/** Groups of eight halves, as they lie. */
function halves(
  problem: GemmProblem,
  b: PreparedB,
  { tileColumns, tileDepth, subgroupColumns }: MatrixTile,
  { threads, tileB, firstB, pitchB }: MatrixLayout,
  native: boolean,
  sets: readonly string[],
): Copying {
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
  ${sets.map((set) => `var vb${set}${i} = BPiece8();`).join(' ')}`,
      )
      .join('\n  '),
    fetch: (k0, set = '') =>
      slots
        .map(
          ({ guard }, i) =>
            `${guard}{ vb${set}${i} = ${alongDepth ? `b_fetch8(batch, ${k0} + ib${i} * 8u, nb${i})` : `b_fetch8(batch, ${k0} + ob${i}, nb${i})`}; }`,
        )
        .join('\n      '),
    put: (set = '', first = firstB) =>
      slots
        .map(({ guard }, i) =>
          alongDepth
            ? `${guard}{ ${tileB}[${first}u + ob${i} / 16u][(ob${i} % 16u) * ${pitchB}u + ib${i}] = b_unpack8(vb${set}${i}); }`
            : `${guard}{ ${tileB}[${first}u + ib${i} / ${subgroupColumns / 8}u * ${tileDepth / 16}u + ob${i} / 16u][(ob${i} % 16u) * ${pitchB}u + ib${i} % ${subgroupColumns / 8}u] = b_unpack8(vb${set}${i}); }`,
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
  sets: readonly string[],
): Copying {
  const pieces = integerPieces(problem, b, packed, tile.tileDepth, 8, native);
  const { slots, fetch } = pieceCopies(pieces, tile, threads, sets);
  const groups = range(pieces.span / 8);
  return {
    code: pieces,
    start: slots
      .map(
        ({ start }, i) => `${start}
  let bb${i} = nb${i} / 16u;
  let ib${i} = (nb${i} % 16u) * ${pitchB}u + kb${i} / 8u;`,
      )
      .join('\n  '),
    fetch: (k0, set = '') => `{ ${fetch(k0, set).join('\n      ')} }`,
    put: (set = '', first = firstB) =>
      slots
        .map(({ guard }, i) => {
          const stores = groups.map(
            (g) =>
              `${tileB}[${first}u + bb${i}][ib${i} + ${g}u] = ${pieces.group(`cb${i}`, `vb${set}${i}`, g)};`,
          );
          return `${guard}{ ${stores.join('\n      ')} }`;
        })
        .join('\n    '),
  };
}
