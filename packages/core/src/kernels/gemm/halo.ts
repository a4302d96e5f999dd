import { u32 } from '../shader.ts';
import type { MatrixDialect } from '../subgroup-matrix.ts';
import { copies } from './copies.ts';
import { channelsInGroups, imageCode } from './image-code.ts';
import { matrixB } from './matrix-b.ts';
import { haloLayout, haloSize, type MatrixTile } from './matrix-layout.ts';
import { multiplyStep, type MatrixLoop } from './matrix-loop.ts';
import { tilesLieInOne } from './pair-source.ts';
import { range, type ConvolutionAxis, type GemmProblem, type PreparedB } from './problem.ts';

/** Pixels beside each other of a tile: the rows of one matrix. */
const WIDTH = 16;

/**
 * Whether the product is a convolution that `haloLoop` computes with tiles of this depth: of several taps that lie next to each
 * other, over channels in whole tiles of halves.
 */
export function fitsHalo({ a, batch }: GemmProblem, tileDepth: number): boolean {
  return (
    a.kind === 'convolution' &&
    a.direction === 'forward' &&
    a.axes.length === 2 &&
    (batch.length === 0 || a.phases === true) &&
    a.axes.every(
      ({ kernel, stride, dilation, upsample }) =>
        (kernel === 2 || kernel === 3) && stride === 1 && dilation === 1 && upsample === 1,
    ) &&
    a.view.storage === 'f16' &&
    channelsInGroups(a, 8) &&
    a.channels % tileDepth === 0 &&
    (!a.pair || tilesLieInOne(a.pair, tileDepth))
  );
}

/** Pieces of an image above and beside each other, and of all images. */
export function haloTiles(
  { a, rows }: GemmProblem,
  { tileRows }: MatrixTile,
): { down: number; across: number; all: number } {
  if (a.kind !== 'convolution') throw new Error('Internal error: only convolutions have halos');
  const [height, width] = a.axes.map(({ output }) => output) as [number, number];
  const down = Math.ceil(height / (tileRows / WIDTH));
  const across = Math.ceil(width / WIDTH);
  return { down, across, all: (rows / (height * width)) * down * across };
}

/** Whether pieces of `tileRows` pixels make up the image without reaching beyond it. */
export function wholePieces({ a }: GemmProblem, tileRows: number): boolean {
  return (
    a.kind === 'convolution' &&
    a.axes[0]!.output % (tileRows / WIDTH) === 0 &&
    a.axes[1]!.output % WIDTH === 0
  );
}

/**
 * The loop of a convolution whose tile is a piece of the image, `tileRows / 16` rows of 16 pixels: it comes to workgroup memory
 * with its halo, some channels at a time, and serves all taps from there. So every pixel is fetched once where an
 * implicit-GEMM tile fetches it once a tap, and the tile can be narrow and tall, which spares weights: 256x80 of 3x3 taps
 * fetches a quarter of what 64x160 does. A matrix of 16 pixels beside each other lies in one row of the piece, at an offset
 * that only the tap's column decides: it is constant, the row is not (see `MatrixDialect`).
 */
export function haloLoop(
  problem: GemmProblem,
  b: PreparedB,
  tile: MatrixTile,
  slices: number,
  matrices: MatrixDialect,
  native: boolean,
): MatrixLoop {
  const { a } = problem;
  if (a.kind !== 'convolution') throw new Error('Internal error: only convolutions have halos');
  const { tileDepth, subgroupRows } = tile;
  const [vertical, horizontal] = a.axes as [ConvolutionAxis, ConvolutionAxis];
  const layout = haloLayout(tile, b.layout, a.axes);
  const { threads, pitchA, tileA, declarations } = layout;
  const blocksB = declarations[1]!.blocks / horizontal.kernel;
  const image = imageCode(problem, a, 8, native);
  const halo = haloSize(tile, a.axes);
  const groups = tileDepth / 8;
  const slots = copies(halo.rows * halo.columns * groups, threads);
  // Taps of one row of the kernel are multiplied together.
  const columns = range(horizontal.kernel);
  const sets = columns.map((x) => `${x}_`);
  const right = matrixB(problem, b, tile, layout, matrices, native, sets);

  const fetchA = slots
    .map(({ guard }, i) => `${guard}{ va${i} = h_fetch(pa${i}, place, ga${i}); }`)
    .join('\n      ');
  const putA = slots
    .map(({ guard }, i) => `${guard}{ ${tileA}[ya${i}][xa${i}] = h_unpack(pa${i}, va${i}); }`)
    .join('\n      ');
  const down = subgroupRows / 16;
  const fetchB = (k0: string): string =>
    columns.map((x) => right.fetch(`(${k0} + ${x}u * params.a_channels)`, sets[x])).join('\n        ');
  const putB = columns.map((x) => right.put(sets[x], x * blocksB)).join('\n      ');
  const multiply = columns
    .flatMap((x) =>
      range(tileDepth / 16).map((k) =>
        multiplyStep(
          matrices,
          tile,
          (i) => matrices.left(`a${i}`, tileA, `sm * ${down}u + ${i}u + y`, x * pitchA + k * 2, pitchA),
          (j) => right.load(`b${j}`, k, j, x * blocksB),
        ),
      ),
    )
    .join('\n      ');

  const { down: tilesDown, across: tilesAcross, all: tilesM } = haloTiles(problem, tile);
  const blocks = a.channels / tileDepth;
  return {
    layout,
    tilesM,
    sliceDepth: Math.ceil(blocks / slices) * tileDepth,
    suffix: '_halo',
    sources: [
      {
        inputs: image.inputs,
        raw: Object.keys(image.inputs),
        params: {
          ...image.params,
          h_down: u32(tilesDown),
          h_across: u32(tilesAcross),
        },
        functions: `${image.header}
/** A pixel of the piece: where its channels begin, and whether it is one of the image. */
struct HPixel { at: u32, inside: bool }
fn h_pixel(row: ARow, t0: i32, t1: i32) -> HPixel {
  let step = ${image.tap(`0u`)};
  ${image.position}
  let inside = ${image.inside};
  return HPixel(${image.address}, inside);
}
fn h_fetch(pixel: HPixel, place: ${a.pair ? 'APlace' : 'u32'}, k: u32) -> vec4<u32> {
  return ${image.read('place', 'k', 'pixel.at', 'pixel.inside')};
}
fn h_unpack(pixel: HPixel, v: vec4<u32>) -> vec4<u32> { return select(vec4<u32>(), v, pixel.inside); }`,
      },
      right.code,
    ],
    start: `let h_tile = tile_m % (params.h_down * params.h_across);
  let h_y = h_tile / params.h_across * ${tile.tileRows / WIDTH}u;
  let h_x = h_tile % params.h_across * ${WIDTH}u;
  let h_m = (tile_m / (params.h_down * params.h_across) * params.a_out0 + h_y) * params.a_out1 + h_x;
  let h_row = a_row(batch, h_m);
  ${slots
    .map(
      (_, i) => `let ia${i} = ${i * threads}u + lane;
  let ga${i} = ia${i} % ${groups}u * 8u;
  let ya${i} = ia${i} / ${groups * halo.columns}u;
  let xa${i} = ia${i} / ${groups}u % ${halo.columns}u * ${pitchA}u + ia${i} % ${groups}u;
  let pa${i} = h_pixel(h_row, i32(ya${i}), i32(ia${i} / ${groups}u % ${halo.columns}u));
  var va${i} = vec4<u32>();`,
    )
    .join('\n  ')}
  ${right.start}`,
    loop: `if (start < end) {
    let place = ${a.pair ? 'a_place(start)' : 'start'};
    ${fetchA}
    ${fetchB('start')}
  }
  for (var c0 = start; c0 < end; c0 += ${tileDepth}u) {
    for (var y = 0u; y < ${vertical.kernel}u; y++) {
      workgroupBarrier();
      if (y == 0u) {
        ${putA}
      }
      ${putB}
      workgroupBarrier();
      let below = y + 1u < ${vertical.kernel}u;
      let next = select(c0 + ${tileDepth}u, c0, below);
      if (next < end) {
        let k0 = select(0u, (y + 1u) * ${horizontal.kernel}u * params.a_channels, below) + next;
        ${fetchB('k0')}
      }
      if (y == 0u && c0 + ${tileDepth}u < end) {
        let place = ${a.pair ? `a_place(c0 + ${tileDepth}u)` : `c0 + ${tileDepth}u`};
        ${fetchA}
      }
      ${multiply}
    }
  }`,
    depth: 'params.a_channels',
    row: (i) =>
      `select(params.rows, h_m + (sm * ${down}u + ${i}u) * params.a_out1 + row, (h_y + sm * ${down}u + ${i}u < params.a_out0) & (h_x + row < params.a_out1))`,
  };
}
