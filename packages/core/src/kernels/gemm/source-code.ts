import type { TensorView } from '../../plan/plan.ts';
import type { Param } from '../shader.ts';

/**
 * WGSL through which a kernel reads A, whatever it is, in groups of W = 4 elements as `vec4f`, or of W = 8 as the halves
 * in a `vec4<u32>`:
 * - `struct ARow`, `fn a_row(batch: u32, m: u32) -> ARow`: what is known of a row before the loop over depth;
 * - `struct AStep`, `fn a_step(k0: u32) -> AStep`: what a tile of depth has in common, `k0` being its first;
 * - `fn a_loadW(row: ARow, step: AStep, k: u32)`: elements `k0 + k … k0 + k + W - 1` of the row, zeros beyond the depth.
 *   `k` is a multiple of W.
 */
export interface SourceCode {
  inputs: Record<string, TensorView>;
  params: Record<string, Param>;
  functions: string;
  /** Inputs to bind raw. */
  raw?: readonly string[];
}

/**
 * The same for B, along columns for `kn` and along depth for `nk`, in two steps so that what is between the fetch and the
 * use need not wait for memory: `BPieceW`, `fn b_fetchW(batch: u32, k: u32, n: u32) -> BPieceW` with zeros beyond the
 * depth, and `fn b_unpackW(piece: BPieceW) -> vec4f` or `vec4<u32>` of halves.
 */
export type BSourceCode = SourceCode;

/** Elements that are read at once: floats, or halves in words of a raw binding. */
export type GroupWidth = 4 | 8;

/** WGSL type of a group. */
export function groupType(width: GroupWidth): string {
  return width === 4 ? 'vec4f' : 'vec4<u32>';
}
