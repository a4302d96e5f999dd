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

/**
 * Inputs for a graph: the reference's, as far as it holds them, and the hash fill under their own names for the rest and for
 * further rows of a batch.
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
    const values = hashFill(name, elements);
    if (name === 'timestep') values.fill(981);
    else if (options.largest !== undefined && dtype.startsWith('float')) {
      const most = values.reduce((found, value) => Math.max(found, Math.abs(value)), 0);
      values.forEach((value, i) => (values[i] = (value / most) * options.largest!));
    }
    // Token ids: anything in the vocabulary takes the same time.
    else if (dtype.startsWith('int'))
      values.forEach((value, i) => (values[i] = Math.floor((value + 2) * 50)));
    if (given?.dtype === 'F32' && isRowOf(given.shape, shape))
      values.set(new Float32Array(given.data.slice().buffer));
    return { ...feed, values };
  });
}

export function tensorsOf(feeds: readonly Feed[]): Record<string, Tensor> {
  return Object.fromEntries(
    feeds.map(({ name, dtype, shape, values }) => [name, Tensor.from(dtype, shape, values)]),
  );
}

/** What the reference holds of these outputs: all of them, or the first rows of a larger batch. */
export function expectedOf(
  outputs: readonly { name: string; shape: readonly number[] }[],
  reference: Reference | undefined,
): Map<string, Float32Array> {
  const expected = new Map<string, Float32Array>();
  for (const { name, shape } of outputs) {
    const given = reference?.get(name);
    if (given?.dtype !== 'F32' || !isRowOf(given.shape, shape)) continue;
    expected.set(name, new Float32Array(given.data.slice().buffer));
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

/** Whether shapes are the same but for a batch that may be smaller. */
function isRowOf(row: readonly number[], shape: readonly number[]): boolean {
  return (
    row.length === shape.length && row.slice(1).join() === shape.slice(1).join() && !(row[0]! > shape[0]!)
  );
}
