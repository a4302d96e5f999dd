import type { DispatchSpec } from '../../plan/lowering.ts';
import type { TensorView, Work } from '../../plan/plan.ts';
import { denseOrder } from '../../plan/view.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { i32, scalarOf, u32, type Param } from '../shader.ts';
import main from './indexed.wgsl';

const WORKGROUP = 64;

/** A kernel that says for one element of the output, given by its coordinates, what it is. */
export interface IndexedSpec {
  name: string;
  /** Dense in some order. */
  output: TensorView;
  /** Any views. */
  inputs?: Readonly<Record<string, TensorView>>;
  params?: Readonly<Record<string, Param>>;
  constants?: Readonly<Record<string, number | boolean | string>>;
  /** Short lists of whole numbers, usually one an axis: `fn NAME() -> array<i32, LENGTH>`. */
  lists?: Readonly<Record<string, readonly number[]>>;
  /**
   * WGSL that defines `fn element(at: Index) -> Scalar`, and may use:
   * - `Index`, `array<u32, RANK>`: coordinates in the output, by ONNX's axes (one, always 0, for a scalar);
   * - `Scalar`: type of the output's elements;
   * - for each input NAME: `NAME_Index`, `NAME_RANK`, `NAME_shape() -> NAME_Index` and
   *   `NAME_at(at: NAME_Index) -> T`, the element at coordinates that lie inside.
   */
  body: string;
  work?: Partial<Work>;
}

/**
 * Builds the dispatch: every thread computes four neighbouring elements of the output in its memory order, so that
 * all storages can be written. For operators that pick their operands' elements by index.
 */
export function indexedKernel({ inputs = {}, lists = {}, ...spec }: IndexedSpec): DispatchSpec {
  const { output } = spec;
  const elements = sizeOf(output.shape);
  const params: Record<string, Param> = { elements: u32(elements), ...spec.params };
  const functions = [unravel(output, params)];
  for (const [name, view] of Object.entries(inputs)) functions.push(accessors(name, view, params));
  for (const [name, list] of Object.entries(lists)) functions.push(listFunction(name, list, params));
  return {
    name: spec.name,
    inputs,
    outputs: { y: output },
    params,
    aliases: { Scalar: scalarOf(output.storage) },
    constants: { ...spec.constants, WORKGROUP, RANK: Math.max(output.shape.length, 1) },
    functions: functions.join('\n'),
    body: `${spec.body}\n${main}`,
    workgroups: Math.ceil(elements / (4 * WORKGROUP)),
    ...(spec.work && { work: spec.work }),
  };
}

/** `fn coordinates(i) -> Index`: from the position in memory. */
function unravel(output: TensorView, params: Record<string, Param>): string {
  const order = denseOrder(output);
  if (!order || output.offset !== 0)
    throw new Error('Internal error: the output of an indexed kernel is not dense');
  const real = order.filter((axis) => output.shape[axis] !== 1);
  const steps = real.map((axis, position) => {
    const outermost = position === 0;
    if (!outermost) params[`y_d${axis}`] = u32(output.shape[axis]!);
    return outermost
      ? `at[${axis}] = rest;`
      : `at[${axis}] = rest % params.y_d${axis}; rest /= params.y_d${axis};`;
  });
  return `alias Index = array<u32, ${Math.max(output.shape.length, 1)}>;
fn coordinates(i: u32) -> Index { var at = Index(); var rest = i; ${steps.reverse().join(' ')} return at; }`;
}

function accessors(name: string, view: TensorView, params: Record<string, Param>): string {
  const { shape, strides, offset } = view;
  const rank = Math.max(shape.length, 1);
  shape.forEach((dim, axis) => {
    params[`${name}_d${axis}`] = u32(dim);
    // Negative strides walk backwards modulo 2^32.
    params[`${name}_s${axis}`] = u32(strides[axis]! >>> 0);
  });
  params[`${name}_o`] = u32(offset);
  const dims = shape.map((_, axis) => `params.${name}_d${axis}`);
  const index = shape.map((_, axis) => ` + at[${axis}] * params.${name}_s${axis}`).join('');
  return `alias ${name}_Index = array<u32, ${rank}>;
const ${name}_RANK = ${rank}u;
fn ${name}_shape() -> ${name}_Index { return ${name}_Index(${shape.length === 0 ? '1u' : dims.join(', ')}); }
fn ${name}_at(at: ${name}_Index) -> ${scalarOf(view.storage)} { return ${name}_load(params.${name}_o${index}); }`;
}

function listFunction(name: string, list: readonly number[], params: Record<string, Param>): string {
  const fields = list.map((value, i) => {
    params[`${name}_${i}`] = i32(value);
    return `params.${name}_${i}`;
  });
  const type = `array<i32, ${Math.max(list.length, 1)}>`;
  return `fn ${name}() -> ${type} { return ${type}(${fields.join(', ') || '0'}); }`;
}
