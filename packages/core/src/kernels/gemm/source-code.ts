import type { TensorView } from '../../plan/plan.ts';
import type { Param } from '../shader.ts';

/**
 * WGSL through which a kernel reads A, whatever it is, in groups of W = 4 elements as `vec4f`, or of W = 8 as the halves
 * in a `vec4<u32>`:
 * - `struct ARow`, `fn a_row(batch: u32, m: u32) -> ARow`: what is known of a row before the loop over depth;
 * - `struct AStep`, `fn a_step(k0: u32) -> AStep`: what a tile of depth has in common, `k0` being its first;
 * - `fn a_fetchW(row: ARow, step: AStep, k: u32) -> APieceW`, `fn a_unpackW(row: ARow, piece: APieceW)`: elements
 *   `k0 + k … k0 + k + W - 1` of the row, zeros beyond the depth, in two steps: whatever is done to what was read (masks,
 *   conversions) waits for memory, so kernels do it where they need the result. `k` is a multiple of W.
 * - `fn a_loadW(row: ARow, step: AStep, k: u32)`: both.
 */
export interface SourceCode {
  inputs: Record<string, TensorView>;
  params: Record<string, Param>;
  functions: string;
  /** Inputs to bind raw. */
  raw?: readonly string[];
  /**
   * Of A, for kernels whose threads read whole tiles of a row: `struct AStart`, `fn a_start(row: ARow, step: AStep) -> AStart` for
   * what is known of a row's tile, and `fn a_from4(step: AStep, start: AStart, k: u32) -> vec4f` for its elements
   * `k … k + 3`. None where `a_load4` has nothing to find out twice.
   */
  starts?: string;
}

/**
 * The same for B, along columns for `kn` and along depth for `nk`: `BPieceW`,
 * `fn b_fetchW(batch: u32, k: u32, n: u32) -> BPieceW` with zeros beyond the depth, and
 * `fn b_unpackW(piece: BPieceW) -> vec4f` or `vec4<u32>` of halves.
 */
export type BSourceCode = SourceCode;

/** Elements that are read at once: floats, or halves in words of a raw binding. */
export type GroupWidth = 4 | 8;

/** A group as it comes from memory. */
export interface Piece {
  type: string;
  /** WGSL that reads the group at an element. */
  read(buffer: string, index: string): string;
  /** WGSL of the group as kernels want it. */
  value(piece: string): string;
}

/** @param native whether WGSL's `f16` may be used */
export function pieceOf(view: TensorView, width: GroupWidth, native: boolean): Piece {
  if (width === 8) {
    return { type: 'vec4<u32>', read: (buffer, i) => `${buffer}[(${i}) >> 3u]`, value: (piece) => piece };
  }
  if (view.storage !== 'f16') {
    return { type: 'vec4f', read: (buffer, i) => `${buffer}_load4(${i})`, value: (piece) => piece };
  }
  return {
    type: native ? 'vec4<f16>' : 'vec2<u32>',
    read: (buffer, i) => `${buffer}[(${i}) >> 2u]`,
    value: (piece) =>
      native ? `vec4f(${piece})` : `vec4f(unpack2x16float(${piece}.x), unpack2x16float(${piece}.y))`,
  };
}

/** `a_step` where tiles of depth have nothing in common but their start. */
export const depthStep = `struct AStep { k0: u32 }
fn a_step(k0: u32) -> AStep { return AStep(k0); }`;

/** `a_loadW` from the two steps. */
export function aLoad(width: GroupWidth): string {
  return `fn a_load${width}(row: ARow, step: AStep, k: u32) -> ${groupType(width)} {
  return a_unpack${width}(row, a_fetch${width}(row, step, k));
}`;
}

/** WGSL type of a group. */
export function groupType(width: GroupWidth): string {
  return width === 4 ? 'vec4f' : 'vec4<u32>';
}
