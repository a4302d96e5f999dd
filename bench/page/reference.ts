import { Tensor, type DataType, type NumericType } from '@calotype/core';
import { hashFill } from '@calotype/dev/hash-fill';
import { readSafetensors } from '@calotype/dev/safetensors';
import type { GraphScenario } from '../scenarios.ts';

/** Inputs and outputs of a run in float32. */
export type Reference = ReturnType<typeof readSafetensors>;

/** One input's contents as numbers, whatever the dtype that the graph takes them in. */
export interface Feed {
  name: string;
  dtype: NumericType;
  shape: number[];
  values: number[] | Float32Array;
}

/** What a graph says about one of its inputs. */
export interface InputInfo {
  name: string;
  dtype: DataType | undefined;
  shape: readonly unknown[] | undefined;
}

export type Numbers = ReadonlyMap<string, ArrayLike<number>>;

/** The scenario's reference; undefined where the fixtures hold none. */
export async function referenceOf(scenario: GraphScenario): Promise<Reference | undefined> {
  if (!scenario.reference) return undefined;
  const response = await fetch(`/fixtures/${scenario.reference}.reference.safetensors`);
  return response.ok ? readSafetensors(new Uint8Array(await response.arrayBuffer())) : undefined;
}

/** The shapes that the scenario's inputs have in its reference, or undefined where only the batch is another. */
export function referenceShapes(
  scenario: GraphScenario,
  reference: Reference | undefined,
): GraphScenario['shapes'] | undefined {
  const names = Object.keys(scenario.shapes).filter((name) => reference?.has(name));
  const given = names.map((name) => [name, reference!.get(name)!.shape] as const);
  const isOther = given.some(
    ([name, shape]) => shape.slice(1).join() !== scenario.shapes[name]!.slice(1).join(),
  );
  return isOther ? { ...scenario.shapes, ...Object.fromEntries(given) } : undefined;
}

/**
 * Inputs for a graph: the reference's token ids, and for the rest the hash fill that references are made of too, again
 * and again where the batch is larger than the reference's.
 *
 * @param options.largest scales floats so that this is the largest
 */
export function feedsOf(
  inputs: readonly InputInfo[],
  shapes: GraphScenario['shapes'],
  options: { reference?: Reference | undefined; largest?: number } = {},
): Feed[] {
  return inputs.map(({ name, dtype, shape: declared }) => {
    const wanted = shapes[name];
    if (!wanted || !dtype || dtype === 'string') throw new Error(`No shape is given for input '${name}'.`);
    const shape = declared?.length === 0 ? [] : [...wanted];
    const feed = { name, dtype, shape };
    const given = options.reference?.get(name);
    if (given?.dtype === 'I64' && given.shape.join() === shape.join())
      return { ...feed, values: Array.from(new BigInt64Array(given.data.slice().buffer), Number) };
    const elements = shape.reduce((product, dim) => product * dim, 1);
    const row = given?.shape.slice(1).join() === shape.slice(1).join() ? elementsOf(given.shape) : elements;
    const values = repeat(hashFill(name, row), elements);
    if (name === 'timestep') values.fill(981);
    else if (options.largest !== undefined && dtype.startsWith('float')) {
      const most = values.reduce((found, value) => Math.max(found, Math.abs(value)), 0);
      values.forEach((value, i) => (values[i] = (value / most) * options.largest!));
    }
    // Token ids: anything in the vocabulary takes the same time.
    else if (dtype.startsWith('int'))
      values.forEach((value, i) => (values[i] = Math.floor((value + 2) * 50)));
    return { ...feed, values };
  });
}

export function tensorsOf(feeds: readonly Feed[]): Record<string, Tensor> {
  return Object.fromEntries(
    feeds.map(({ name, dtype, shape, values }) => [name, Tensor.from(dtype, shape, values)]),
  );
}

/** What the reference holds of these outputs, again and again where the batch is larger than the reference's. */
export function expectedOf(
  outputs: readonly { name: string; shape: readonly number[] }[],
  reference: Reference | undefined,
): Map<string, Float32Array> {
  const expected = new Map<string, Float32Array>();
  for (const { name, shape } of outputs) {
    const given = reference?.get(name);
    if (given?.dtype !== 'F32' || given.shape.slice(1).join() !== shape.slice(1).join()) continue;
    expected.set(name, repeat(new Float32Array(given.data.slice().buffer), elementsOf(shape)));
  }
  return expected;
}

/** Largest relative L2 of the outputs that `expected` holds; null where that is none. */
export function distance(outputs: Numbers, expected: Numbers): number | null {
  if (expected.size === 0) return null;
  let worst = 0;
  for (const [name, values] of expected) {
    const numbers = outputs.get(name)!;
    let difference = 0;
    let norm = 0;
    for (let i = 0; i < values.length; i++) {
      difference += (numbers[i]! - values[i]!) ** 2;
      norm += values[i]! ** 2;
    }
    const error = Math.sqrt(difference / norm);
    // NaN compares as false and must not get lost.
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function repeat(values: Float32Array, elements: number): Float32Array {
  if (values.length === elements) return values;
  const all = new Float32Array(elements);
  for (let at = 0; at < elements; at += values.length) all.set(values.subarray(0, elements - at), at);
  return all;
}
