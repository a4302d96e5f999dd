import type { TensorView } from '../plan/plan.ts';
import { rowMajor } from '../plan/view.ts';
import { sizeOf } from '../tensor/shape.ts';
import { u32, type Param } from './shader.ts';
import { walkAxes, walkCode } from './walk.ts';

/** How a kernel finds the lines of a view along one axis. */
export interface LinesCode {
  lines: number;
  length: number;
  /** `x_outer(line) -> u32`, where a line starts, from `params.x_offset` on. */
  functions: string;
  /** `lines`, `length`, `x_offset`, `x_stride` and what `x_outer` needs. */
  params: Record<string, Param>;
}

/** Lines of input `x` in row-major order of the other axes. A scalar is one line of one element. */
export function linesCode(x: TensorView, axis: number): LinesCode {
  const others = rowMajor(x.shape.length).filter((other) => other !== axis);
  const lines = sizeOf(others.map((other) => x.shape[other]!));
  const length = x.shape[axis] ?? 1;
  const walk = walkCode('x_outer', walkAxes(x, others));
  const params = {
    lines: u32(lines),
    length: u32(length),
    x_offset: u32(x.offset),
    x_stride: u32((x.strides[axis] ?? 0) >>> 0),
    ...walk.params,
  };
  return { lines, length, functions: walk.functions, params };
}

/** Where lines of a dense result start (`y_outer(line)`) and the distance of neighbours in one (`params.y_stride`). */
export function resultLines(
  y: TensorView,
  axis: number,
): { functions: string; params: Record<string, Param> } {
  const others = rowMajor(y.shape.length).filter((other) => other !== axis);
  const walk = walkCode('y_outer', walkAxes(y, others));
  return {
    functions: walk.functions,
    params: { ...walk.params, y_stride: u32(y.strides[axis] ?? 0) },
  };
}

/** Threads for each of `lines` lines of `length` elements, a power of two up to 256. */
export function lanesFor(lines: number, length: number): number {
  let lanes = 1;
  while (lanes < 256 && lanes * 4 <= length && lines * lanes < 32_768) lanes *= 2;
  return lanes;
}
