import type { TensorView } from '../plan/plan.ts';
import { rowMajor } from '../plan/view.ts';
import { sizeOf } from '../tensor/shape.ts';
import { u32, type Param } from './shader.ts';
import { byStride, walkAxes, walkCode } from './walk.ts';

/** How threads share rows: `lanes` threads take a row in vec4s, lane k every `lanes`-th from k on. */
export interface RowsDesign {
  lanes: number;
  threads: number;
  /** vec4s of a row that one lane takes at most. */
  perLane: number;
  /** Whether a lane keeps its part of the row in registers between passes. */
  keep: boolean;
}

/** Chooses the design for `rows` rows of `length` elements. Pure. */
export function rowsDesign(rows: number, length: number): RowsDesign {
  const vectors = Math.ceil(length / 4);
  let lanes = 1;
  while (lanes < 256 && vectors > 4 * lanes) lanes *= 2;
  // Few rows: more lanes for each, until the GPU has some thousand threads or a lane has nothing more to give.
  while (lanes < 256 && rows * lanes < 32_768 && 2 * lanes <= vectors) lanes *= 2;
  const threads = rows * lanes < 65_536 ? Math.max(64, lanes) : 256;
  const perLane = Math.ceil(vectors / lanes);
  return { lanes, threads, perLane, keep: perLane <= 8 };
}

/** A tensor as rows that are contiguous in memory, one after the other in any order of the outer axes. */
export interface Rows {
  view: TensorView;
  /** Outer axes in the order of the rows. */
  outer: number[];
  /** Axes that make up a row, the last ones of the shape or a permutation's choice. */
  inner: number[];
  rows: number;
  length: number;
}

/**
 * Takes `inner` axes of a view as rows where they lie contiguously, outer axes from the largest stride to the smallest.
 * `undefined` where rows are not contiguous.
 */
export function contiguousRows(view: TensorView, inner: readonly number[]): Rows | undefined {
  const walk = walkAxes(view, inner);
  const contiguous = walk.dims.length === 0 || (walk.dims.length === 1 && walk.strides[0] === 1);
  if (!contiguous) return undefined;
  const outer = byStride(
    view,
    rowMajor(view.shape.length).filter((axis) => !inner.includes(axis)),
  );
  const sizes = (axes: readonly number[]): number => sizeOf(axes.map((axis) => view.shape[axis]!));
  return { view, outer, inner: [...inner], rows: sizes(outer), length: sizes(inner) };
}

/** Whether every row consists of aligned vec4s. */
export function hasVectorRows({ view, outer, length }: Rows): boolean {
  const { strides } = walkAxes(view, outer);
  return length % 4 === 0 && view.offset % 4 === 0 && strides.every((stride) => stride % 4 === 0);
}

/** WGSL for a body that handles a row by columns, four at a time. */
export interface RowsCode {
  /**
   * `x_row(row) -> u32`, where a row starts; `read4(start, column) -> vec4f`, elements from `column` on, a multiple
   * of 4; `inside(column) -> vec4<bool>`, which of them the row has; what is read beyond is any of its elements.
   */
  functions: string;
  params: Record<string, Param>;
}

/** Readers of input `x`. Params: `rows`, `length` and what `x_row` needs. */
export function rowsCode(rows: Rows): RowsCode {
  const walk = walkCode('x_outer', walkAxes(rows.view, rows.outer));
  const vector = hasVectorRows(rows);
  return {
    functions: [
      walk.functions,
      'fn x_row(row: u32) -> u32 { return params.x_offset + x_outer(row); }',
      vector
        ? `fn read4(start: u32, column: u32) -> vec4f { return vec4f(x_load4(start + column)); }
fn inside(column: u32) -> vec4<bool> { return vec4<bool>(true); }`
        : `fn read1(start: u32, column: u32) -> f32 { return f32(x_load(start + min(column, params.length - 1u))); }
fn read4(start: u32, column: u32) -> vec4f {
  return vec4f(
    read1(start, column), read1(start, column + 1u), read1(start, column + 2u), read1(start, column + 3u));
}
fn inside(column: u32) -> vec4<bool> { return vec4u(column, column + 1u, column + 2u, column + 3u) < vec4u(params.length); }`,
    ].join('\n'),
    params: {
      rows: u32(rows.rows),
      length: u32(rows.length),
      x_offset: u32(rows.view.offset),
      ...walk.params,
    },
  };
}

/** `write4(row, column, v)` into dense rows of output `y`. Vectors run through `epilogue`, single elements do not. */
export function rowsWriter(vector: boolean): string {
  if (vector) {
    return `fn write4(row: u32, column: u32, v: vec4f) {
  let i = row * params.length + column;
  y_store4(i, epilogue(v, i));
}`;
  }
  return `fn write4(row: u32, column: u32, v: vec4f) {
  let i = row * params.length + column;
  let left = params.length - column;
  y_store(i, v.x);
  if (left > 1u) { y_store(i + 1u, v.y); }
  if (left > 2u) { y_store(i + 2u, v.z); }
  if (left > 3u) { y_store(i + 3u, v.w); }
}`;
}
