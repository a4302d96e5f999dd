import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { u32, type Param } from '../shader.ts';
import source from './pack_address.wgsl';
import { range, type GemmProblem, type WeightSource } from './problem.ts';

/** WGSL that finds an element of a packed weight in its file. */
export const address: string = source;

/** Elements `start … end - 1` of a weight in its file's order. */
export interface WeightPart {
  start: number;
  end: number;
}

/** Parts begin at multiples of this many rows, so that what one thread packs never comes from two of them. */
const PART_ROWS = 64;

/** The tensors that a weight lies in, one after the other: one, or several where no binding holds it. */
export function partsOf(lowering: Lowering, b: WeightSource): (WeightPart & { view: TensorView })[] {
  // A block of depth that goes through several axes may come from two parts.
  const isPlain = b.depthAxes.every(({ size, stride }) => size === 1 || stride < b.columnStride);
  const isMatrix = b.depthAxes.filter(({ size }) => size > 1).length === 1;
  const views = isPlain || isMatrix ? lowering.parts(b.view, PART_ROWS) : [b.view];
  if (views.length === 1) return [{ view: b.view, start: 0, end: 0xffffffff }];
  let start = 0;
  return views.map((view) => {
    const end = start + sizeOf(view.shape);
    const part = { view, start, end };
    start = end;
    return part;
  });
}

/** What `pack_address.wgsl` and the kernels around it know of a weight. */
export function addressParams(
  problem: GemmProblem,
  b: WeightSource,
  part: WeightPart = { start: 0, end: 0xffffffff },
): Record<string, Param> {
  const axes = [...range(4 - b.depthAxes.length).map(() => ({ size: 1, stride: 0 })), ...b.depthAxes];
  return {
    source_columns: u32(problem.columns * (problem.gate ? 2 : 1)),
    source_depth: u32(problem.depth),
    offset: u32(b.view.offset),
    part_start: u32(part.start),
    part_end: u32(part.end),
    group_stride: u32(b.groupStride),
    column_stride: u32(b.columnStride),
    ...Object.fromEntries(
      axes.flatMap(({ size, stride }, i) => [
        [`size${i}`, u32(size)],
        [`stride${i}`, u32(stride)],
      ]),
    ),
  };
}
