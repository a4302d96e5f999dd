import { i32, u32, type Param } from '../shader.ts';
import { pairCode, rowOf } from './pair-source.ts';
import { range, type ConvolutionSource, type GemmProblem } from './problem.ts';
import { pieceOf, type GroupWidth, type Piece, type SourceCode } from './source-code.ts';

/** Whether `width` neighbouring channels can be read at once. */
export function channelsInGroups(
  { view, channels, groupStride }: ConvolutionSource,
  width: GroupWidth,
): boolean {
  const strides = [view.offset, groupStride, view.strides[0]!, ...view.strides.slice(2)];
  return channels % width === 0 && view.strides[1] === 1 && strides.every((stride) => stride % width === 0);
}

/** What the ways of reading an image have in common: an output position of the matrix, a kernel tap, and where both lead. */
export interface ImageCode {
  inputs: SourceCode['inputs'];
  params: Record<string, Param>;
  /** `struct ARow`, `a_row`; `struct ATap`: steps along each axis, and a channel's place: itself, or an `APlace`. */
  header: string;
  piece: Piece;
  /** Statements that find the position `x0, x1, …` of `row` and `step`, then expressions of it. */
  position: string;
  inside: string;
  address: string;
  /** Statements that find the steps `t0, t1, …` of a tap, and the `ATap` of those with a channel. */
  steps: (tap: string) => string;
  tap: (channel: string) => string;
  /**
   * Reads the group `k` elements after a tap's place in the channels, at an address. Outside the image that is its first: a branch
   * would cost more, and who masks it later does not wait for what was read.
   */
  read: (place: string, k: string, address: string, inside: string) => string;
}

export function imageCode(
  problem: GemmProblem,
  a: ConvolutionSource,
  width: GroupWidth,
  native: boolean,
): ImageCode {
  const { view, axes, channels } = a;
  const rank = axes.length;
  const channelStride = view.strides[1]!;
  const { pair } = a;
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

  const steps = (tap: string): string => {
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
  const along = (d: number): string => {
    const { stride, upsample } = axes[d]!;
    if (forward) return upsample === 1 ? `x${d}` : `(x${d} / ${upsample})`;
    return stride === 1 ? `x${d}` : `(x${d} / ${stride})`;
  };
  const address = `row.base + u32(${range(rank)
    .map((d) => `${along(d)} * params.a_stride${d}`)
    .join(' + ')})`;
  const position = range(rank)
    .map((d) => `let x${d} = row.p${d} + step.t${d};`)
    .join(' ');

  const taps = range(rank).map((d) => `t${d}`);
  const fields = [`place: ${both ? 'APlace' : 'u32'}`, ...taps.map((tap) => `${tap}: i32`)];
  const tap = (channel: string): string =>
    `ATap(${[both ? `a_place(${channel})` : channel, ...taps].join(', ')})`;
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
  return {
    inputs: both?.inputs ?? { A: view },
    params,
    header,
    piece,
    position,
    inside,
    address,
    steps,
    tap,
    read: (place, k, at, isInside) =>
      both
        ? `a_read(${place}, ${k}, select(0u, ${at}, ${isInside}))`
        : piece.read('A', `select(0u, ${at} + ${place} + ${k}, ${isInside})`),
  };
}
