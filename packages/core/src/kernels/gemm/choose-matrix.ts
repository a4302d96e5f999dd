import type { Capabilities, Precision } from '../../plan/capabilities.ts';
import { fitsHalo, haloTiles } from './halo.ts';
import { haloLayout, matrixThreads, type MatrixTile } from './matrix-layout.ts';
import { batchSize, multipliedColumns, partialBytes, type GemmProblem } from './problem.ts';

/**
 * A tile of the matrix back end, and the speed of a multiprocessor that holds one such workgroup or two, relative to 2.3 TFLOP/s:
 * two of 128x128 on an H200. More than 24 KB of workgroup memory leave room for one alone.
 */
interface RatedTile {
  tile: MatrixTile;
  one: number;
  two?: number;
}

/**
 * Tiles that were found worth having on an H100 and an H200. 160 and 80 divide the widths of SD and SDXL. Four subgroups are best
 * where two workgroups share a multiprocessor, eight where one is alone: in SD 1.5's UNet, 64x160 in eight takes 23 µs for
 * 4096x320x320 and in four 27, in SDXL's 128x160 takes 56 µs for 4096x640x640 and 72.
 */
const ratedTiles: readonly RatedTile[] = [
  { tile: matrixTile(128, 256, 32, 64, 64, 'kn'), one: 1.03 },
  { tile: matrixTile(128, 128, 32, 64, 64, 'kn'), one: 0.75, two: 1 },
  { tile: matrixTile(128, 160, 32, 64, 80, 'kn'), one: 0.75, two: 0.98 },
  { tile: matrixTile(128, 160, 32, 32, 80, 'kn'), one: 0.9 },
  { tile: matrixTile(64, 160, 64, 16, 80, 'nk'), one: 0.84 },
  { tile: matrixTile(64, 128, 64, 32, 32, 'nk'), one: 0.7 },
  { tile: matrixTile(64, 64, 64, 16, 32, 'nk'), one: 0.52, two: 0.65 },
  // Convolutions of the SD 1.5 UNet reach 142 to 179 TFLOP/s with these, and 84 to 89 with 64x160 in four.
  { tile: haloTile(256, 80, 32, 32, 80), one: 1.1 },
  { tile: haloTile(128, 80, 32, 16, 80), one: 0.95 },
  // Those of the VAE decoder 272, and 200 with 128x128.
  { tile: haloTile(128, 128, 16, 64, 64), one: 1, two: 1.37 },
];

/** All tiles by name, for tests and measurements. */
export const matrixTiles: Readonly<Record<string, MatrixTile>> = Object.fromEntries(
  ratedTiles.map(({ tile }) => [nameOf(tile), tile]),
);

/** Multiprocessors of an H100; smaller cards are filled all the sooner. */
const MULTIPROCESSORS = 132;

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

/** A tile, and how many workgroups share its depth. */
interface SlicedTile {
  tile: MatrixTile;
  slices: number;
}

/** The tile and split with the lowest estimated time. */
export function chooseMatrixTile(problem: GemmProblem, capabilities: Capabilities): SlicedTile {
  return rankMatrixTiles(problem, capabilities)[0]!;
}

/** Tiles, each with the split that suits it best, from the lowest estimated time to the highest. */
export function rankMatrixTiles(problem: GemmProblem, { limits }: Capabilities): SlicedTile[] {
  const ranked: (SlicedTile & { cost: number })[] = [];
  for (const rated of ratedTiles) {
    const { tile } = rated;
    if (matrixThreads(tile) > limits.maxComputeInvocationsPerWorkgroup) continue;
    if (tile.halo && !hasRoom(problem, tile, limits.maxComputeWorkgroupStorageSize)) continue;
    const tiles = tileCount(problem, tile);
    // Eight subgroups of 64x64 that wait together at every step pay only where many such workgroups follow each other.
    if (tile.tileColumns === 256 && tiles < 300) continue;
    let best = { tile, slices: 1, cost: Infinity };
    for (const slices of [1, 2, 3, 4, 6, 8]) {
      if (slices > 1 && !splits(problem, tile, tiles, slices, limits.maxStorageBufferBindingSize)) break;
      const cost = costOf(problem, rated, tiles * slices, slices);
      if (cost < best.cost) best = { tile, slices, cost };
    }
    ranked.push(best);
  }
  return ranked.toSorted((a, b) => a.cost - b.cost).map(({ tile, slices }) => ({ tile, slices }));
}

/** Whether the product is a convolution whose tiles have a halo and fit into workgroup memory with it. */
function hasRoom(problem: GemmProblem, tile: MatrixTile, bytes: number): boolean {
  const { a, b } = problem;
  if (a.kind !== 'convolution' || !fitsHalo(problem, tile.tileDepth)) return false;
  const layout = b.kind === 'weight' && b.bits ? 'nk' : tile.layout;
  return haloLayout(tile, layout, a.axes).bytes <= bytes;
}

function tileCount(problem: GemmProblem, tile: MatrixTile): number {
  const down = tile.halo ? haloTiles(problem, tile).all : Math.ceil(problem.rows / tile.tileRows);
  return down * Math.ceil(multipliedColumns(problem) / tile.tileColumns) * batchSize(problem);
}

/** Whether the depth may be shared by so many workgroups a tile. */
function splits(
  problem: GemmProblem,
  tile: MatrixTile,
  tiles: number,
  slices: number,
  bindingBytes: number,
): boolean {
  // A gate needs whole sums.
  if (problem.gate || problem.output.part) return false;
  // More than one workgroup a multiprocessor never paid for the second dispatch; each should have some rounds of work.
  return (
    tiles * slices <= MULTIPROCESSORS &&
    problem.depth / slices >= 4 * tile.tileDepth &&
    partialBytes(problem, slices) <= bindingBytes
  );
}

/** Estimated time in multiply-adds of one multiprocessor at full speed. */
function costOf(
  problem: GemmProblem,
  { tile, one, two }: RatedTile,
  workgroups: number,
  slices: number,
): number {
  const resident = two ? 2 : 1;
  const full = Math.floor(workgroups / (resident * MULTIPROCESSORS));
  const rest = workgroups % (resident * MULTIPROCESSORS);
  const wave = resident / (two ?? one);
  // The last wave: one workgroup on each multiprocessor at most, or two on some.
  const last = rest === 0 ? 0 : rest <= MULTIPROCESSORS ? 1 / one : wave;
  const work = ((full * wave + last) * tile.tileRows * tile.tileColumns * problem.depth) / slices;
  const reduce =
    slices > 1
      ? REDUCE_COST + REDUCE_ELEMENT_COST * problem.rows * multipliedColumns(problem) * (slices + 1)
      : 0;
  return work + reduce;
}

export function matrixTile(
  tileRows: number,
  tileColumns: number,
  tileDepth: number,
  subgroupRows: number,
  subgroupColumns: number,
  layout: 'kn' | 'nk',
): MatrixTile {
  return { tileRows, tileColumns, tileDepth, subgroupRows, subgroupColumns, layout };
}

/** Pieces of an image with their halo (`haloLoop`). */
export function haloTile(
  tileRows: number,
  tileColumns: number,
  tileDepth: number,
  subgroupRows: number,
  subgroupColumns: number,
): MatrixTile {
  return { ...matrixTile(tileRows, tileColumns, tileDepth, subgroupRows, subgroupColumns, 'kn'), halo: true };
}

/** `64x160x64-8`: rows, columns, depth, and how many subgroups; `halo-` before it. */
function nameOf(tile: MatrixTile): string {
  const { tileRows, tileColumns, tileDepth, halo } = tile;
  return `${halo ? 'halo-' : ''}${tileRows}x${tileColumns}x${tileDepth}-${matrixThreads(tile) / 32}`;
}
