/** Sizes of a product on subgroup matrices; all multiples of 16, the depth of 32 where B may be integers. */
export interface MatrixTile {
  tileRows: number;
  tileColumns: number;
  tileDepth: number;
  /** What one subgroup of 32 threads makes. */
  subgroupRows: number;
  subgroupColumns: number;
  /** How B is stored: rows along columns (`kn`), or along depth (`nk`), which is the better one for deep tiles. */
  layout: 'kn' | 'nk';
  /** Rows are pixels of a piece of an image, 16 beside each other, and come with their halo (`haloLoop`). */
  halo?: boolean;
}

/** How a product is computed on subgroup matrices. */
export interface MatrixChoice {
  tile: MatrixTile;
  /** Plain WGSL in place of subgroup matrices, for tests. */
  emulated?: boolean;
}

/**
 * Where tiles lie in workgroup memory, in blocks of 16 rows: a matrix has a block and a constant offset in it. Sizes and
 * pitches count vec4<u32> of eight halves.
 */
export interface MatrixLayout {
  threads: number;
  pitchA: number;
  pitchB: number;
  /** Names of the arrays that hold A and B, and B's first block. With `nk` tiles without a halo share one. */
  tileA: string;
  tileB: string;
  firstB: number;
  declarations: { name: string; inner: number; blocks: number }[];
  /** Where a subgroup puts results on their way out, a matrix each, once the operands are done with. */
  places: ResultPlace[];
  bytes: number;
}

export interface ResultPlace {
  tile: string;
  /** WGSL of the block, from `subgroup`. */
  block: string;
  /** Of the matrix of floats in its block. */
  offset: number;
  pitch: number;
}

export function matrixThreads({ tileRows, tileColumns, subgroupRows, subgroupColumns }: MatrixTile): number {
  return (tileRows / subgroupRows) * (tileColumns / subgroupColumns) * 32;
}

export function matrixLayout(tile: MatrixTile, layout: 'kn' | 'nk' = tile.layout): MatrixLayout {
  const { tileRows, tileColumns, tileDepth, subgroupColumns } = tile;
  const threads = matrixThreads(tile);
  const pitchA = tileDepth / 8 + 1;
  const shared = layout === 'nk';
  const pitchB = shared ? pitchA : subgroupColumns / 8 + 1;
  const blocksA = tileRows / 16;
  const [tileA, tileB] = shared ? ['tiles', 'tiles'] : ['tile_a', 'tile_b'];
  const declarations = shared
    ? [{ name: tileA, inner: 16 * pitchA, blocks: blocksA + tileColumns / 16 }]
    : [
        { name: tileA, inner: 16 * pitchA, blocks: blocksA },
        {
          name: tileB,
          inner: 16 * pitchB,
          blocks: (tileColumns / subgroupColumns) * (tileDepth / 16),
        },
      ];
  const places = placesIn(declarations, threads / 32);
  if (places.length === 0) throw new Error('Internal error: no room for the results of a matrix tile');
  const bytes = bytesOf(declarations);
  return { threads, pitchA, pitchB, tileA, tileB, firstB: shared ? blocksA : 0, declarations, places, bytes };
}

/** Rows and columns of pixels that a tile with its halo holds. */
export function haloSize(
  { tileRows }: MatrixTile,
  [vertical, horizontal]: readonly { kernel: number }[],
): { rows: number; columns: number } {
  return { rows: tileRows / 16 + vertical!.kernel - 1, columns: 15 + horizontal!.kernel };
}

/** The same with a halo: a block of A is a row of pixels, and B has blocks for each column of the kernel. */
export function haloLayout(
  tile: MatrixTile,
  layout: 'kn' | 'nk',
  axes: readonly { kernel: number }[],
): MatrixLayout {
  const { tileColumns, tileDepth, subgroupColumns } = tile;
  const threads = matrixThreads(tile);
  const pitchA = tileDepth / 8 + 1;
  const pitchB = layout === 'nk' ? pitchA : subgroupColumns / 8 + 1;
  const { rows, columns } = haloSize(tile, axes);
  const blocksB = layout === 'nk' ? tileColumns / 16 : (tileColumns / subgroupColumns) * (tileDepth / 16);
  const operands = [
    { name: 'tile_a', inner: columns * pitchA, blocks: rows },
    { name: 'tile_b', inner: 16 * pitchB, blocks: axes[1]!.kernel * blocksB },
  ];
  const missing = Math.max(0, LEAST_PLACES - placesIn(operands, threads / 32).length);
  const own = { name: 'results', inner: 16 * 5, blocks: (missing * threads) / 32 };
  const declarations = missing > 0 ? [...operands, own] : operands;
  return {
    threads,
    pitchA,
    pitchB,
    tileA: 'tile_a',
    tileB: 'tile_b',
    firstB: 0,
    declarations,
    places: placesIn(declarations, threads / 32),
    bytes: bytesOf(declarations),
  };
}

/** Matrices that a subgroup of a tile with a halo sends out together at least, where few channels leave no room for any. */
const LEAST_PLACES = 2;

function bytesOf(declarations: MatrixLayout['declarations']): number {
  return declarations.reduce((sum, { inner, blocks }) => sum + inner * blocks * 16, 0);
}

/** Matrices of results beside each other in each block that a subgroup gets, with rows padded by a vec4. */
function placesIn(declarations: MatrixLayout['declarations'], subgroups: number): ResultPlace[] {
  const places: ResultPlace[] = [];
  for (const { name, inner, blocks } of declarations) {
    const own = Math.floor(blocks / subgroups);
    const beside = Math.floor((inner / 16 - 1) / 4);
    for (let block = 0; block < own; block++) {
      for (let k = 0; k < beside; k++) {
        places.push({
          tile: name,
          block: `subgroup * ${own}u + ${block}u`,
          offset: 4 * k,
          pitch: 4 * beside + 1,
        });
      }
    }
  }
  return places;
}
