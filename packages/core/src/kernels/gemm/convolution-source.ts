import { u32, i32, type Param } from '../shader.ts';
import { pairCode, rowOf, tilesLieInOne } from './pair-source.ts';
import { range, type ConvolutionSource, type GemmProblem } from './problem.ts';
import { aLoad, depthStep, groupType, pieceOf, type GroupWidth, type SourceCode } from './source-code.ts';

/** Whether `width` neighbouring channels can be read at once. */
export function channelsInGroups(
  { view, channels, groupStride }: ConvolutionSource,
  width: GroupWidth,
): boolean {
  const strides = [view.offset, groupStride, view.strides[0]!, ...view.strides.slice(2)];
  return channels % width === 0 && view.strides[1] === 1 && strides.every((stride) => stride % width === 0);
}

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
  const { view, axes, channels } = a;
  const rank = axes.length;
  const channelStride = view.strides[1]!;
  const grouped = channelsInGroups(a, width);
  const { pair } = a;
  const tapPerTile = grouped && channels % tileDepth === 0 && (!pair || tilesLieInOne(pair, tileDepth));
  const piece = pieceOf(view, width, native);
  const both = pair && pairCode(pair, piece);
  // Of two tensors rows are counted, which are pixels.
  const unit = pair ? rowOf(pair) : 1;

  const params: Record<string, Param> = {
    ...both?.params,
    a_offset: u32(view.offset / unit),
    a_image: u32(view.strides[0]! / unit),
    a_group: u32(a.groupStride / unit),
    a_channels: u32(channels),
    a_channel: u32(channelStride),
    depth: u32(problem.depth),
  };
  axes.forEach((axis, d) => {
    params[`a_in${d}`] = u32(axis.input * axis.upsample);
    params[`a_out${d}`] = u32(axis.output);
    params[`a_stride${d}`] = i32(view.strides[2 + d]! / unit);
  });

  // Positions are counted in output steps times stride (forward) or in output elements (transposed).
  const forward = a.direction === 'forward';
  const rowStart = axes
    .map(({ stride, pad }, d) => {
      const at = d === 0 ? `(rest % params.a_out0)` : `(rest % params.a_out${d})`;
      if (a.phases) return `i32${at} - 1 + i32(${d === 0 ? 'batch >> 1u' : 'batch & 1u'})`;
      return forward ? `i32${at} * ${stride} - ${pad}` : `i32${at} + ${pad}`;
    })
    .map((text, d) => ({ text, d }));
  const rowCode = [...rowStart]
    .reverse()
    .map(({ text, d }) => `let p${d} = ${text};\n  rest = rest / params.a_out${d};`)
    .join('\n  ');

  const tapCode = (tap: string): string => {
    const parts: string[] = [`var rest = ${tap};`];
    for (let d = rank - 1; d >= 0; d--) {
      const { kernel, dilation } = axes[d]!;
      const sign = forward ? '' : '-';
      parts.push(`let t${d} = ${sign}i32(${d === 0 ? 'rest' : `rest % ${kernel}u`}) * ${dilation};`);
      if (d > 0) parts.push(`rest = rest / ${kernel}u;`);
    }
    return parts.join('\n  ');
  };

  // Without short-circuits, and with negative positions as huge ones: branches cost more than what they save.
  const inside = range(rank)
    .map((d) => {
      const { stride } = axes[d]!;
      if (forward || stride === 1) return `(u32(x${d}) < params.a_in${d})`;
      return `(u32(x${d}) < params.a_in${d} * ${stride}u) & (u32(x${d}) % ${stride}u == 0u)`;
    })
    .join(' & ');
  const position = (d: number): string => {
    const { stride, upsample } = axes[d]!;
    if (forward) return upsample === 1 ? `x${d}` : `(x${d} / ${upsample})`;
    return stride === 1 ? `x${d}` : `(x${d} / ${stride})`;
  };
  const address = `row.base + u32(${range(rank)
    .map((d) => `${position(d)} * params.a_stride${d}`)
    .join(' + ')})`;
  const add = range(rank)
    .map((d) => `let x${d} = row.p${d} + step.t${d};`)
    .join(' ');

  const taps = range(rank).map((d) => `t${d}`);
  const fields = [both ? 'place: APlace' : 'channel: u32', ...taps.map((tap) => `${tap}: i32`)];
  const tap = (channel: string): string =>
    `ATap(${[both ? `a_place(${channel})` : channel, ...taps].join(', ')})`;
  const tapOf = (k: string): string => `fn a_tap(k: u32) -> ATap {
  ${tapCode(`k / params.a_channels`)}
  return ${tap('k % params.a_channels')};
}
${k}`;
  const header = `${both?.functions ?? ''}
struct ARow { base: u32, ${range(rank)
    .map((d) => `p${d}: i32`)
    .join(', ')} }
struct ATap { ${fields.join(', ')} }
fn a_row(batch: u32, m: u32) -> ARow {
  var rest = m;
  ${rowCode}
  return ARow(params.a_offset + rest * params.a_image + batch * params.a_group, ${range(rank)
    .map((d) => `p${d}`)
    .join(', ')});
}`;

  // Reads outside the image go to its first element and are masked: a branch would cost more. The mask comes later, so
  // that nothing waits for what was read.
  const masked = (k: string): string => `${add}
  let inside = ${inside};
  return APiece${width}(${
    both
      ? `a_read(step.place, ${k}, select(0u, ${address}, inside))`
      : piece.read('A', `select(0u, ${address} + step.channel + ${k}, inside)`)
  }, inside);`;
  const type = groupType(width);
  const pieces = `struct APiece${width} { v: ${piece.type}, inside: bool }
fn a_unpack${width}(row: ARow, piece: APiece${width}) -> ${type} {
  return select(${type}(), ${piece.value('piece.v')}, piece.inside);
}`;
  const ends = problem.depth % tileDepth === 0;
  let reads: string;
  if (tapPerTile) {
    const tilesPerTap = channels / tileDepth;
    const magic = magicReciprocal(tilesPerTap, problem.depth / tileDepth);
    if (magic !== undefined) params['a_tap_magic'] = u32(magic);
    params['a_tap_tiles'] = u32(tilesPerTap);
    reads = `alias AStep = ATap;
fn a_step(k0: u32) -> AStep {
  let tile = k0 / ${tileDepth}u;
  let tap = ${magic === undefined ? 'tile / params.a_tap_tiles' : '(tile * params.a_tap_magic) >> 16u'};
  ${tapCode('tap')}
  return ${tap(`(tile - tap * params.a_tap_tiles) * ${tileDepth}u`)};
}
${pieces}
fn a_fetch${width}(row: ARow, step: AStep, k: u32) -> APiece${width} {
  ${masked('k')}
}
${aLoad(width)}`;
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
  ${add}
  let inside = ${inside};
  return select(0.0, A_load(select(0u, ${address} + step.channel * params.a_channel, inside)), inside);
}
fn a_load4(row: ARow, start: AStep, k: u32) -> vec4f {
  var v: vec4f;
  for (var e = 0u; e < 4u; e++) { v[e] = a_load(row, start.k0 + k + e); }
  return v;
}`);
  }
  const inputs = both?.inputs ?? { A: view };
  const raw = width === 8 ? Object.keys(inputs) : [];
  return { inputs, raw, params, functions: `${header}\n${reads}` };
}
