import { u32 } from '../shader.ts';
import { channelsInGroups, imageCode } from './image-code.ts';
import { tilesLieInOne } from './pair-source.ts';
import type { ConvolutionSource, GemmProblem } from './problem.ts';
import { aLoad, depthStep, groupType, type GroupWidth, type SourceCode } from './source-code.ts';

/**
 * `m` with which `(x * m) >> 16` is `x / divisor` for `x` up to `largest`: divisions by what is no constant cost some 25
 * instructions, at every step of a product. Undefined where 32 bits do not hold it.
 */
export function magicReciprocal(divisor: number, largest: number): number | undefined {
  const magic = Math.ceil(65536 / divisor);
  return largest * (magic * divisor - 65536) < 65536 && largest * magic < 2 ** 32 ? magic : undefined;
}

/**
 * Reads an image as the matrix of an implicit-GEMM convolution. A row keeps where its output position starts in the
 * input; a column is a kernel tap and a channel. How much is worked out when depends on the channels:
 * - tiles of depth that lie inside one tap (`channels` a multiple of the tile): the tap is found once a tile;
 * - channels in groups of four: once a group;
 * - anything else (the 3 or 9 channels of a first convolution, images that are not channels-last): once an element.
 */
export function convolutionSource(
  problem: GemmProblem,
  a: ConvolutionSource,
  tileDepth: number,
  width: GroupWidth,
  native: boolean,
): SourceCode {
  const { channels, pair } = a;
  const { inputs, params, header, piece, position, inside, address, steps, tap, read } = imageCode(
    problem,
    a,
    width,
    native,
  );
  const grouped = channelsInGroups(a, width);
  const tapPerTile = grouped && channels % tileDepth === 0 && (!pair || tilesLieInOne(pair, tileDepth));
  const tapOf = (k: string): string => `fn a_tap(k: u32) -> ATap {
  ${steps(`k / params.a_channels`)}
  return ${tap('k % params.a_channels')};
}
${k}`;
  const masked = (k: string): string => `${position}
  let inside = ${inside};
  return APiece${width}(${read('step.place', k, address, 'inside')}, inside);`;
  const type = groupType(width);
  const pieces = `struct APiece${width} { v: ${piece.type}, inside: bool }
fn a_unpack${width}(row: ARow, piece: APiece${width}) -> ${type} {
  return select(${type}(), ${piece.value('piece.v')}, piece.inside);
}`;
  const ends = problem.depth % tileDepth === 0;
  let reads: string;
  let starts: string | undefined;
  if (tapPerTile) {
    const tilesPerTap = channels / tileDepth;
    const magic = magicReciprocal(tilesPerTap, problem.depth / tileDepth);
    if (magic !== undefined) params['a_tap_magic'] = u32(magic);
    params['a_tap_tiles'] = u32(tilesPerTap);
    reads = `alias AStep = ATap;
fn a_step(k0: u32) -> AStep {
  let tile = k0 / ${tileDepth}u;
  let tap = ${magic === undefined ? 'tile / params.a_tap_tiles' : '(tile * params.a_tap_magic) >> 16u'};
  ${steps('tap')}
  return ${tap(`(tile - tap * params.a_tap_tiles) * ${tileDepth}u`)};
}
${pieces}
fn a_fetch${width}(row: ARow, step: AStep, k: u32) -> APiece${width} {
  ${masked('k')}
}
${aLoad(width)}`;
    starts = `struct AStart { at: u32, inside: bool }
fn a_start(row: ARow, step: AStep) -> AStart {
  ${position}
  let inside = ${inside};
  return AStart(select(0u, ${address}${pair ? '' : ' + step.place'}, inside), inside);
}
fn a_from4(step: AStep, start: AStart, k: u32) -> vec4f {
  let piece = ${pair ? 'a_read(step.place, k, start.at)' : piece.read('A', 'start.at + k')};
  return select(vec4f(), ${piece.value('piece')}, start.inside);
}`;
  } else if (grouped) {
    reads = tapOf(`${depthStep}
${pieces}
fn a_fetch${width}(row: ARow, start: AStep, k: u32) -> APiece${width} {
  ${ends ? '' : `if (start.k0 + k >= params.depth) { return APiece${width}(); }`}
  let step = a_tap(start.k0 + k);
  ${masked('0u')}
}
${aLoad(width)}`);
  } else {
    reads = tapOf(`${depthStep}
fn a_load(row: ARow, k: u32) -> f32 {
  if (k >= params.depth) { return 0.0; }
  let step = a_tap(k);
  ${position}
  let inside = ${inside};
  return select(0.0, A_load(select(0u, ${address} + step.place * params.a_channel, inside)), inside);
}
fn a_load4(row: ARow, start: AStep, k: u32) -> vec4f {
  var v: vec4f;
  for (var e = 0u; e < 4u; e++) { v[e] = a_load(row, start.k0 + k + e); }
  return v;
}`);
  }
  const raw = width === 8 ? Object.keys(inputs) : [];
  return { inputs, raw, params, functions: `${header}\n${reads}`, ...(starts && { starts }) };
}
