import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { rowMajor } from '../../plan/view.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { SPECIAL_FLOATS } from '../elementwise/elementwise.ts';
import { f32, scalarOf, u32 } from '../shader.ts';
import { byStride, walkAxes, walkCode } from '../walk.ts';
import { reduceDesign, type ReduceMode } from './design.ts';
import { reductionOf, type Reduction, type ReductionName } from './functions.ts';
import source from './reduce.wgsl';

/** A view with its axes in two groups, and how to read it. */
export interface ReduceProblem {
  x: TensorView;
  /** In the order of the results in memory, outermost first. */
  kept: number[];
  reduced: number[];
  mode: ReduceMode;
}

/** Orders the axes by stride, so that reads run along memory, and finds the mode. */
export function reduceProblem(x: TensorView, axes: readonly number[]): ReduceProblem {
  const all = rowMajor(x.shape.length);
  const kept = byStride(
    x,
    all.filter((axis) => !axes.includes(axis)),
  );
  const reduced = byStride(x, axes);
  return { x, kept, reduced, mode: modeOf(x, kept, reduced) };
}

function modeOf(x: TensorView, kept: readonly number[], reduced: readonly number[]): ReduceMode {
  if (x.offset % 4 !== 0 || sizeOf(x.shape) === 0) return 'element';
  const outer = walkAxes(x, kept);
  const inner = walkAxes(x, reduced);
  const aligned = (strides: readonly number[]): boolean => strides.every((stride) => stride % 4 === 0);
  const fours = ({ dims, strides }: typeof outer): boolean =>
    strides.at(-1) === 1 && dims.at(-1)! % 4 === 0 && aligned(strides.slice(0, -1));
  if (fours(inner) && aligned(outer.strides)) return 'row';
  if (fours(outer) && aligned(inner.strides)) return 'column';
  return 'element';
}

/**
 * Emits one dispatch, or two where the results are few and the elements many.
 *
 * @param y dense from 0, results in the order of `problem.kept`; stored by fours in column mode, else one by one
 */
export function reduce(lowering: Lowering, name: ReductionName, problem: ReduceProblem, y: TensorView): void {
  const { x, kept, reduced } = problem;
  const scalar = scalarOf(x.storage);
  const reduction = reductionOf(name, scalar, x.dtype === 'bool');
  const count = sizeOf(reduced.map((axis) => x.shape[axis]!));
  const items = sizeOf(kept.map((axis) => x.shape[axis]!)) / (problem.mode === 'column' ? 4 : 1);
  const { chunks } = reduceDesign(problem.mode, items, unitsOf(problem, count));
  if (chunks === 1) {
    stage(lowering, `reduce_${name}`, problem, reduction, count, y);
    return;
  }
  const results = sizeOf(y.shape);
  const partial = lowering.scratch('partial', [chunks, results], scalar);
  stage(lowering, `reduce_${name}_partial`, problem, { ...reduction, after: 'v' }, count, partial);
  const merge: ReduceProblem = { x: partial, kept: [1], reduced: [0], mode: modeOf(partial, [1], [0]) };
  // The result is stored as the problem's mode promises.
  if (problem.mode !== 'column') merge.mode = 'element';
  stage(lowering, `reduce_${name}_merge`, merge, { ...reduction, before: 'v' }, count, y, 1);
}

function unitsOf(problem: ReduceProblem, count: number): number {
  return problem.mode === 'row' ? count / 4 : count;
}

function stage(
  lowering: Lowering,
  name: string,
  problem: ReduceProblem,
  reduction: Reduction,
  count: number,
  y: TensorView,
  maxChunks = Infinity,
): void {
  const { x, kept, reduced, mode } = problem;
  const size = (axes: readonly number[]): number => sizeOf(axes.map((axis) => x.shape[axis]!));
  const column = mode === 'column';
  const items = size(kept) / (column ? 4 : 1);
  const units = unitsOf(problem, size(reduced));
  const design = reduceDesign(mode, items, units);
  const { threads, lanes, neighbours } = design;
  const split = design.chunks <= maxChunks;
  const chunks = split ? design.chunks : 1;
  const outer = walkCode('x_outer', walkAxes(x, kept));
  const inner = walkCode('x_inner', walkAxes(x, reduced));
  const scalar = scalarOf(x.storage);
  lowering.dispatch({
    name,
    body: source,
    inputs: { x },
    outputs: { y },
    params: {
      items: u32(items),
      units: u32(units),
      chunks: u32(chunks),
      chunk_units: u32(split ? design.chunkUnits : units),
      x_offset: u32(x.offset),
      count: f32(count),
      ...outer.params,
      ...inner.params,
    },
    aliases: {
      Scalar: scalar,
      Value: column ? `vec4<${scalar}>` : scalar,
      FloatValue: column ? 'vec4f' : 'f32',
      Loaded: mode === 'element' ? scalar : `vec4<${scalar}>`,
    },
    constants: { WORKGROUP: threads, LANES: lanes, ITEMS: threads / lanes, NEIGHBOURS: neighbours },
    functions: [
      SPECIAL_FLOATS,
      outer.functions,
      inner.functions,
      `fn initial() -> Value { return Value(${reduction.initial}); }`,
      `fn before(v: Loaded) -> Loaded { return ${reduction.before}; }`,
      `fn combine(a: Value, b: Value) -> Value { return ${reduction.combine}; }`,
      `fn after(v: Value) -> Value { return ${reduction.after}; }`,
      accessors(mode),
    ].join('\n'),
    workgroups: Math.ceil((items * lanes) / threads) * chunks,
    work: { flops: sizeOf(x.shape) },
  });
}

function accessors(mode: ReduceMode): string {
  switch (mode) {
    case 'row':
      return `fn item_start(item: u32) -> u32 { return params.x_offset + x_outer(item); }
fn fetch(start: u32, unit: u32) -> Value {
  let v = before(x_load4(start + x_inner(4u * unit)));
  return combine(combine(v.x, v.y), combine(v.z, v.w));
}
fn put(i: u32, v: Value) { y_store(i, after(v)); }`;
    case 'column':
      return `fn item_start(item: u32) -> u32 { return params.x_offset + x_outer(4u * item); }
fn fetch(start: u32, unit: u32) -> Value { return before(x_load4(start + x_inner(unit))); }
fn put(i: u32, v: Value) { y_store4(4u * i, after(v)); }`;
    case 'element':
      return `fn item_start(item: u32) -> u32 { return params.x_offset + x_outer(item); }
fn fetch(start: u32, unit: u32) -> Value { return before(x_load(start + x_inner(unit))); }
fn put(i: u32, v: Value) { y_store(i, after(v)); }`;
  }
}
