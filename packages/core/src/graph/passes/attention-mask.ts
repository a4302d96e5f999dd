import { type Shape, sizeOf } from '../../tensor/shape.ts';
import { broadcastStrides } from '../evaluate.ts';
import type { GraphEditor } from '../edit.ts';
import type { Value } from '../graph.ts';
import { dataOf } from '../match.ts';

/** One thing that hides scores. `scores` is the shape of those that it was applied to. */
export type Mask =
  | { kind: 'add'; value: Value; scores: Shape }
  /** Scores where `value` is not `keeps` are replaced by `fill`. */
  | { kind: 'where'; value: Value; keeps: boolean; fill: number; scores: Shape };

/**
 * All masks as one that broadcasts to `tall` [B, H, S, T].
 *
 * @returns `'unfit'` where a mask does not broadcast to that shape
 */
export function combineMasks(
  graph: GraphEditor,
  masks: readonly Mask[],
  tall: Shape,
  name: string,
): Value | undefined | 'unfit' {
  const shaped: Mask[] = [];
  for (const mask of masks) {
    const shape = tallShape(mask.value.shape, mask.scores.length, tall);
    if (!shape) return 'unfit';
    shaped.push({ ...mask, value: graph.reshape(mask.value, shape, name) });
  }
  const [first] = shaped;
  if (shaped.length === 1 && first!.kind === 'where' && first!.fill === -Infinity) {
    return first!.keeps ? first!.value : graph.make({ op: 'Not', name, inputs: [first!.value] });
  }
  const additive = shaped.map((mask) => {
    if (mask.kind === 'add') return mask.value;
    const fill = graph.constant([mask.fill], [], 'float32', `${name}/fill`);
    const zero = graph.constant([0], [], 'float32', `${name}/zero`);
    const inputs = mask.keeps ? [mask.value, zero, fill] : [mask.value, fill, zero];
    return graph.make({ op: 'Where', name, inputs });
  });
  return additive.length === 0 ? undefined : additive.reduce((sum, mask) => add(graph, sum, mask, name));
}

function add(graph: GraphEditor, a: Value, b: Value, name: string): Value {
  const rank = Math.max(a.shape.length, b.shape.length);
  const dim = (value: Value, axis: number): number => value.shape[axis - rank + value.shape.length] ?? 1;
  const shape = Array.from({ length: rank }, (_, axis) => Math.max(dim(a, axis), dim(b, axis)));
  return graph.add({ op: 'Add', name, inputs: [a, b] }, [{ dtype: 'float32', shape }])[0]!;
}

/** The shape in which a mask for scores of `rank` broadcasts to [B, H, S, T]. */
function tallShape(shape: Shape, rank: number, tall: Shape): Shape | undefined {
  const own = [...shape];
  if (rank === 3 && shape.length === 3) {
    // [B·H, S, T], where 1 fits all.
    const [batch] = own;
    const [b, h] = tall;
    own.splice(0, 1, ...(batch === 1 ? [1, 1] : [b!, h!]));
    if (sizeOf(own) !== sizeOf(shape)) return undefined;
  }
  const missing = tall.length - own.length;
  const fits = missing >= 0 && own.every((dim, axis) => dim === 1 || dim === tall[axis + missing]);
  return fits ? own : undefined;
}

/** Whether an additive mask hides exactly the keys after each query. */
export function isCausal(mask: Value, tall: Shape): boolean {
  const [queries, keys] = tall.slice(-2);
  const data = dataOf(mask);
  if (!data || queries !== keys || queries! < 2) return false;
  const strides = broadcastStrides(mask.shape, tall);
  // A mask that differs between batches or heads is no plain causal one.
  if (strides[0] !== 0 || strides[1] !== 0) return false;
  const hidden = (number: number): boolean => (mask.dtype === 'bool' ? number === 0 : number <= -1e4);
  const shown = (number: number): boolean => (mask.dtype === 'bool' ? number !== 0 : number === 0);
  for (let query = 0; query < queries!; query++) {
    for (let key = 0; key < keys!; key++) {
      const number = data[query * strides[2]! + key * strides[3]!]!;
      if (!(key > query ? hidden(number) : shown(number))) return false;
    }
  }
  return true;
}
