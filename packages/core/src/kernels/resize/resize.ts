import type { DispatchSpec, Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { epilogueCode, type EpilogueViews } from '../elementwise/epilogue.ts';
import { decodeCode, mergedDimensions, movesInFours, type Dimension } from '../dimensions.ts';
import { scalarOf, u32, type Param } from '../shader.ts';
import { repetition, type Taps } from './taps.ts';

const WORKGROUP = 256;

export interface ResizeTask {
  /** Any view. */
  x: TensorView;
  /** Dense in some order, offset 0. */
  y: TensorView;
  /** What happens to which axis; the others are as long in `y` as in `x`. */
  axes: ReadonlyMap<number, Taps>;
  /** Where a tap's index is -1. */
  extrapolation: number;
  epilogue: EpilogueViews | undefined;
}

/**
 * Emits one dispatch: each thread makes four neighbouring elements of `y`, each the weighted sum of the product of
 * all axes' taps. Where the innermost axis stays as it is (channels-last images) everything moves in vec4s.
 */
export function resize(lowering: Lowering, task: ResizeTask): void {
  lowering.dispatch(resizeDispatch(lowering, task));
}

function resizeDispatch(lowering: Lowering, { x, y, axes, ...task }: ResizeTask): DispatchSpec {
  const dimensions = mergedDimensions(y, [x.strides], (axis) => axes.has(axis));
  const scalar = scalarOf(x.storage);
  const vector = movesInFours(x, dimensions);
  const sample = sampleCode(x, dimensions, axes, vector);
  const tables = sample.indices.length > 0;
  const epilogue = scalar === 'f32' ? epilogueCode(task.epilogue, y) : undefined;
  const value = vector
    ? 'sample(i)'
    : `vec4<${scalar}>(sample(i), sample(i + 1u), sample(i + 2u), sample(i + 3u))`;
  return {
    name: sample.weighted ? 'resize_weighted' : 'resize_nearest',
    inputs: {
      x,
      ...(tables && { index: lowering.constant(Int32Array.from(sample.indices), [sample.indices.length]) }),
      ...(sample.weighted && {
        weight: lowering.constant(Float32Array.from(sample.weights), [sample.weights.length]),
      }),
      ...epilogue?.inputs,
    },
    outputs: { y },
    params: {
      elements: u32(sizeOf(y.shape)),
      x_offset: u32(x.offset),
      extrapolation: { type: scalar, value: task.extrapolation },
      ...sample.params,
      ...epilogue?.params,
    },
    aliases: { Value: vector ? `vec4<${scalar}>` : scalar },
    constants: { WORKGROUP },
    functions: `${epilogue?.functions ?? ''}\n${sample.functions}`,
    body: `
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + thread);
  if (i >= params.elements) { return; }
  y_store4(i, ${epilogue ? `epilogue(${value}, i)` : value});
}`,
    workgroups: Math.ceil(sizeOf(y.shape) / (4 * WORKGROUP)),
    work: { flops: sizeOf(y.shape) * (sample.weighted ? 2 * sample.reads : 0) },
  };
}

interface SampleCode {
  /** `sample(i) -> Value`, the result's element (or four) at `i` in memory order. */
  functions: string;
  params: Record<string, Param>;
  /** Tables of all axes, one after the other. Empty where every axis only repeats elements. */
  indices: number[];
  weights: number[];
  weighted: boolean;
  /** Elements of the operand in one of the result. */
  reads: number;
}

function sampleCode(
  x: TensorView,
  dimensions: readonly Dimension[],
  axes: ReadonlyMap<number, Taps>,
  vector: boolean,
): SampleCode {
  const decode = decodeCode(dimensions);
  const params: Record<string, Param> = { ...decode.params };
  const indices: number[] = [];
  const weights: number[] = [];
  const factors: string[] = [];
  let starts = '';
  let loops = '';
  let depth = 0;
  let reads = 1;
  let position = 'start';
  dimensions.forEach(({ axis, strides }, k) => {
    params[`s${k}`] = u32(strides[0]! >>> 0);
    const taps = axis === undefined ? undefined : axes.get(axis)!;
    const factor = taps && repetition(taps, x.shape[axis!]!);
    if (!taps) starts += `start += c${k} * params.s${k};\n`;
    else if (factor !== undefined) {
      params[`f${k}`] = u32(factor);
      starts += `start += c${k} / params.f${k} * params.s${k};\n`;
    } else {
      params[`t${k}`] = u32(indices.length);
      starts += `let row${k} = params.t${k} + c${k} * ${taps.taps}u;\n`;
      if (taps.indices.includes(-1)) {
        starts += `if (index_load(row${k}) < 0) { return Value(params.extrapolation); }\n`;
      }
      loops += `for (var k${k} = 0u; k${k} < ${taps.taps}u; k${k}++) {
let part${k} = ${position} + u32(index_load(row${k} + k${k})) * params.s${k};\n`;
      position = `part${k}`;
      depth++;
      if (taps.weights) factors.push(`weight_load(row${k} + k${k})`);
      taps.indices.forEach((index, i) => {
        indices.push(index);
        weights.push(taps.weights?.[i] ?? 0);
      });
      reads *= taps.taps;
    }
  });
  const product = [...factors, `x_load${vector ? '4' : ''}(${position})`].join(' * ');
  return {
    functions: `fn sample(i: u32) -> Value {
${decode.code}var start = params.x_offset;
${starts}var sum = Value(0);
${loops}sum += ${product};
${'}'.repeat(depth)}
return sum;
}`,
    params,
    indices,
    weights,
    weighted: factors.length > 0,
    reads,
  };
}
