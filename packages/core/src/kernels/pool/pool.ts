import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { sizeOf, stridesOf } from '../../tensor/shape.ts';
import { decodeCode, mergedDimensions, movesInFours } from '../dimensions.ts';
import { SPECIAL_FLOATS } from '../elementwise/elementwise.ts';
import { epilogueCode, type EpilogueViews } from '../elementwise/epilogue.ts';
import { i32, scalarOf, u32, type Param } from '../shader.ts';

const WORKGROUP = 256;

/** The window along one axis. */
export interface PoolAxis {
  kernel: number;
  stride: number;
  dilation: number;
  /** Elements before the first and after the last that windows may cover. */
  padBefore: number;
  padAfter: number;
}

export type PoolKind =
  | { name: 'max' }
  /** `includePad`: elements of the padding count as zeros; what lies beyond it never counts. */
  | { name: 'average'; includePad: boolean }
  /** (Σ |x|^p)^(1/p) */
  | { name: 'lp'; p: number };

export interface PoolTask {
  /** Any view of [N, C, …]. */
  x: TensorView;
  /** Dense in some order. */
  y: TensorView;
  /** Windows by axis of `x`. */
  axes: ReadonlyMap<number, PoolAxis>;
  kind: PoolKind;
  /**
   * Where each maximum was found: i32, as `y`; indices into `x` as if it were row-major, or with the spatial axes in
   * column-major order.
   */
  indices?: { view: TensorView; columnMajor: boolean } | undefined;
  epilogue: EpilogueViews | undefined;
}

/** Emits one dispatch; each thread makes four neighbouring elements of `y`, in channels-last memory with vec4 loads. */
export function pool(lowering: Lowering, task: PoolTask): void {
  const { x, y, axes, kind, indices } = task;
  const flat = indices ? flatStrides(x, axes, indices.columnMajor) : x.shape.map(() => 0);
  const dimensions = mergedDimensions(y, [x.strides, ...(indices ? [flat] : [])], (axis) => axes.has(axis));
  const vector = movesInFours(x, dimensions);
  const scalar = scalarOf(x.storage);
  const value = vector ? `vec4<${scalar}>` : scalar;
  const decode = decodeCode(dimensions);
  const params: Record<string, Param> = {
    elements: u32(sizeOf(y.shape)),
    x_offset: u32(x.offset),
    ...decode.params,
  };
  let starts = '';
  const loops: { axis: number; k: number }[] = [];
  const divisors: string[] = [];
  dimensions.forEach(({ axis, strides }, k) => {
    params[`s${k}`] = u32(strides[0]! >>> 0);
    if (indices) params[`g${k}`] = u32(strides[1]!);
    if (axis === undefined) {
      starts += `start += c${k} * params.s${k};\n`;
      if (indices) starts += `flat += c${k} * params.g${k};\n`;
      return;
    }
    const { kernel, stride, dilation, padBefore, padAfter } = axes.get(axis)!;
    const size = x.shape[axis]!;
    Object.assign(params, {
      [`n${k}`]: i32(size),
      [`kernel${k}`]: i32(kernel),
      [`stride${k}`]: i32(stride),
      [`dilation${k}`]: i32(dilation),
      [`before${k}`]: i32(padBefore),
      [`end${k}`]: i32(size + padAfter),
    });
    starts += `let first${k} = i32(c${k}) * params.stride${k} - params.before${k};\n`;
    divisors.push(
      `f32(min(params.kernel${k}, (params.end${k} - first${k} + params.dilation${k} - 1) / params.dilation${k}))`,
    );
    loops.push({ axis, k });
  });
  // The first of equal maxima in the order of the axes wins, whatever their order in memory.
  loops.sort((a, b) => a.axis - b.axis);
  let [position, place] = ['start', 'flat'];
  let nest = '';
  for (const { k } of loops) {
    nest += `for (var k${k} = 0; k${k} < params.kernel${k}; k${k}++) {
let p${k} = first${k} + k${k} * params.dilation${k};
if (p${k} < 0 || p${k} >= params.n${k}) { continue; }
let o${k} = ${position} + u32(p${k}) * params.s${k};
${indices ? `let f${k} = ${place} + u32(p${k}) * params.g${k};` : ''}\n`;
    [position, place] = [`o${k}`, `f${k}`];
  }
  if (indices) params['lane_step'] = i32(dimensions.at(-1)!.strides[1]!);
  const read = `x_load${vector ? '4' : ''}(${position})`;
  const step = stepOf(kind, read, indices && place, vector);
  const epilogue = scalar === 'f32' ? epilogueCode(task.epilogue, y) : undefined;
  const four = (field: string): string =>
    vector
      ? `pool(i).${field}`
      : `vec4<${field === 'index' ? 'i32' : scalar}>(a.${field}, b.${field}, c.${field}, d.${field})`;
  lowering.dispatch({
    name: `pool_${kind.name}`,
    inputs: { x, ...epilogue?.inputs },
    outputs: { y, ...(indices && { indices: indices.view }) },
    params: { ...params, ...epilogue?.params },
    constants: { WORKGROUP },
    aliases: { Value: value, Scalar: scalar, Index: vector ? 'vec4<i32>' : 'i32' },
    functions: `${task.epilogue ? '' : SPECIAL_FLOATS}
${epilogue?.functions ?? ''}
struct Pooled { value: Value, index: Index }
fn pool(i: u32) -> Pooled {
${decode.code}var start = params.x_offset;
var flat = 0u;
${starts}var value = Value(${initialOf(kind, scalar)});
var index = Index(0);
var count = 0.0;
${nest}${step}
${'}'.repeat(loops.length)}
return Pooled(${resultOf(kind, divisors)}, index);
}`,
    body: `
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + thread);
  if (i >= params.elements) { return; }
  ${vector ? '' : 'let a = pool(i); let b = pool(i + 1u); let c = pool(i + 2u); let d = pool(i + 3u);'}
  y_store4(i, ${epilogue ? `epilogue(${four('value')}, i)` : four('value')});
  ${indices ? `indices_store4(i, ${four('index')});` : ''}
}`,
    workgroups: Math.ceil(sizeOf(y.shape) / (4 * WORKGROUP)),
    work: { flops: sizeOf(y.shape) * [...axes.values()].reduce((n, { kernel }) => n * kernel, 1) },
  });
}

/** Strides of `x` as if it were dense, spatial axes row-major or column-major. */
function flatStrides(x: TensorView, axes: ReadonlyMap<number, PoolAxis>, columnMajor: boolean): number[] {
  const strides = stridesOf(x.shape);
  if (!columnMajor) return strides;
  let step = 1;
  for (const axis of [...axes.keys()].toSorted((a, b) => a - b)) {
    strides[axis] = step;
    step *= x.shape[axis]!;
  }
  return strides;
}

function initialOf({ name }: PoolKind, scalar: 'f32' | 'i32' | 'u32'): string {
  if (name !== 'max' || scalar === 'u32') return 'Scalar(0)';
  return scalar === 'f32' ? '-inf_f32()' : 'i32(-2147483647 - 1)';
}

/** What one element of the window does. `place` is its index, where maxima are to be found again. */
function stepOf(kind: PoolKind, read: string, place: string | undefined, vector: boolean): string {
  switch (kind.name) {
    case 'max': {
      if (place === undefined) return `value = max(value, ${read});`;
      // Lanes of a vec4 are neighbouring channels: `lane_step` apart in the flat order.
      const own = vector
        ? `vec4<i32>(i32(${place})) + vec4<i32>(0, 1, 2, 3) * params.lane_step`
        : `i32(${place})`;
      return `let v = ${read};
let better = v > value;
index = select(index, ${own}, better);
value = select(value, v, better);`;
    }
    case 'average':
      return `value += ${read};\ncount += 1.0;`;
    case 'lp':
      return kind.p === 1
        ? `value += abs(${read});`
        : kind.p === 2
          ? `let v = ${read};\nvalue += v * v;`
          : `value += pow(abs(${read}), Value(${kind.p}.0));`;
  }
}

function resultOf(kind: PoolKind, divisors: readonly string[]): string {
  switch (kind.name) {
    case 'max':
      return 'value';
    case 'average':
      return `value / Value(Scalar(${kind.includePad ? divisors.join(' * ') : 'count'}))`;
    case 'lp':
      return kind.p === 1 ? 'value' : kind.p === 2 ? 'sqrt(value)' : `pow(value, Value(1.0 / ${kind.p}.0))`;
  }
}
