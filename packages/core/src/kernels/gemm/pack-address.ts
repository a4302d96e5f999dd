import { u32, type Param } from '../shader.ts';
import source from './pack_address.wgsl';
import { range, type GemmProblem, type WeightSource } from './problem.ts';

/** WGSL that finds an element of a packed weight in its file. */
export const address: string = source;

/** What `pack_address.wgsl` and the kernels around it know of a weight. */
export function addressParams(problem: GemmProblem, b: WeightSource): Record<string, Param> {
  const axes = [...range(4 - b.depthAxes.length).map(() => ({ size: 1, stride: 0 })), ...b.depthAxes];
  return {
    source_columns: u32(problem.columns * (problem.gate ? 2 : 1)),
    source_depth: u32(problem.depth),
    offset: u32(b.view.offset),
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
