import { hashFill } from '../../hash-fill.ts';
import type { SafeTensor } from '../../safetensors.ts';
import { toNumbers } from './reference.ts';

/** What a graph says about one of its inputs. */
export interface InputInfo {
  name: string;
  dtype: string;
  /** Free dimensions by name, where they have one. */
  shape: readonly (number | string | undefined)[] | undefined;
}

/** One input's contents as numbers, and the dtype that the graph takes them in. */
export interface Feed {
  dtype: string;
  shape: number[];
  values: ArrayLike<number>;
}

/**
 * Feeds for all of a graph's inputs: those that `given` holds, and for the rest the hash fill under their own names,
 * with sizes that fit the given tensors. Token ids are small. The step is 981, as whoever made the references took it;
 * without one it is 1, for a graph that works in float16 loses the sine of a large step's angles to rounding.
 */
export function feedsFor(
  inputs: readonly InputInfo[],
  given: ReadonlyMap<string, SafeTensor>,
): Map<string, Feed> {
  const free = freeSizes(given);
  const feeds = new Map<string, Feed>();
  for (const input of inputs) {
    const reference = given.get(input.name);
    if (reference) {
      feeds.set(input.name, { dtype: input.dtype, shape: reference.shape, values: toNumbers(reference) });
      continue;
    }
    if (!input.shape) throw new Error(`The graph does not say what rank its input '${input.name}' has.`);
    const shape = input.shape.map((size, axis) => (typeof size === 'number' ? size : free(input, axis)));
    const elements = shape.reduce((product, size) => product * size, 1);
    const filled = hashFill(input.name, elements);
    if (/^time_?steps?$|^t$/.test(input.name)) filled.fill(given.size ? 981 : 1);
    else if (/int/.test(input.dtype))
      filled.forEach((value, i) => (filled[i] = Math.floor((value + 2) * 50)));
    feeds.set(input.name, { dtype: input.dtype, shape, values: filled });
  }
  return feeds;
}

/** Sizes of free dimensions by what they usually mean, taken from the reference picture where there is one. */
function freeSizes(given: ReadonlyMap<string, SafeTensor>): (input: InputInfo, axis: number) => number {
  const picture = [...given.values()].find(({ shape }) => shape.length === 4)?.shape;
  const batch = [...given.values()].find(({ shape }) => shape.length > 1)?.shape[0] ?? 2;
  return ({ name, shape }, axis) => {
    if (axis === 0) return batch;
    if (shape?.length === 4 && axis >= 2) {
      // A decoder's picture is eight times as high and wide as its latents.
      const scale = name.startsWith('latent') ? 8 : 1;
      return picture ? picture[axis]! / scale : [16, 8][axis - 2]!;
    }
    return 77;
  };
}
