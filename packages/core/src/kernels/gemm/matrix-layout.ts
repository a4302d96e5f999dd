/** Sizes of a product on subgroup matrices; all multiples of 16. */
export interface MatrixTile {
  tileRows: number;
  tileColumns: number;
  tileDepth: number;
  /** What one subgroup of 32 threads makes. */
  subgroupRows: number;
  subgroupColumns: number;
  /** How B is stored: rows along columns (`kn`), or along depth (`nk`), which is the better one for deep tiles. */
  layout: 'kn' | 'nk';
}

/** Where tiles lie in workgroup memory. Sizes and pitches in vec4<u32> of eight halves. */
export interface MatrixLayout {
  threads: number;
  pitchA: number;
  pitchB: number;
  /** Rows in one block of the nested arrays: constant offsets reach this far. */
  blockRows: number;
  /** Names of the arrays that hold A and B, and B's first block. With `nk` they share one. */
  tileA: string;
  tileB: string;
  firstB: number;
  declarations: { name: string; inner: number; blocks: number }[];
  /** Which array the results pass through, and how many columns at a time. */
  scratch: { tile: string; columns: number };
  bytes: number;
}

export function matrixThreads({ tileRows, tileColumns, subgroupRows, subgroupColumns }: MatrixTile): number {
  return (tileRows / subgroupRows) * (tileColumns / subgroupColumns) * 32;
}

export function matrixLayout(tile: MatrixTile, layout: 'kn' | 'nk' = tile.layout): MatrixLayout {
  const { tileRows, tileColumns, tileDepth, subgroupRows, subgroupColumns } = tile;
  const threads = matrixThreads(tile);
  const subgroups = threads / 32;
  const pitchA = tileDepth / 8 + 1;
  const shared = layout === 'nk';
  const pitchB = shared ? pitchA : subgroupColumns / 8 + 1;
  // Small enough that there is a block for each subgroup's results.
  let blockRows = shared ? greatestCommonDivisor(subgroupRows, subgroupColumns) : subgroupRows;
  const rows = shared ? tileRows + tileColumns : tileRows;
  while (blockRows > 16 && blockRows % 32 === 0 && rows / blockRows < subgroups) blockRows /= 2;
  const blocksA = tileRows / blockRows;
  const declarations = shared
    ? [{ name: 'tiles', inner: blockRows * pitchA, blocks: blocksA + tileColumns / blockRows }]
    : [
        { name: 'tile_a', inner: blockRows * pitchA, blocks: blocksA },
        { name: 'tile_b', inner: tileDepth * pitchB, blocks: tileColumns / subgroupColumns },
      ];
  return {
    threads,
    pitchA,
    pitchB,
    blockRows,
    tileA: shared ? 'tiles' : 'tile_a',
    tileB: shared ? 'tiles' : 'tile_b',
    firstB: shared ? blocksA : 0,
    declarations,
    scratch: scratchFor(declarations, subgroups, subgroupColumns),
    bytes: declarations.reduce((sum, { inner, blocks }) => sum + inner * blocks * 16, 0),
  };
}

/** The widest slice of 16 rows of results (floats, padded by a vec4) for which an array has a block per subgroup. */
function scratchFor(
  declarations: MatrixLayout['declarations'],
  subgroups: number,
  subgroupColumns: number,
): { tile: string; columns: number } {
  for (let columns = subgroupColumns; columns >= 16; columns -= 16) {
    if (subgroupColumns % columns !== 0) continue;
    const need = 16 * (columns / 4 + 1);
    const found = declarations.find(({ inner, blocks }) => inner >= need && blocks >= subgroups);
    if (found) return { tile: found.name, columns };
  }
  throw new Error('Internal error: no room for the results of a matrix tile');
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
