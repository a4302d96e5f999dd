import { equalShapes, type Shape, sizeOf } from '../../tensor/shape.ts';
import type { GraphEditor } from '../edit.ts';
import type { Value } from '../graph.ts';
import { producerOf } from '../match.ts';
import { permOf } from './canonicalize.ts';
import type { Mask } from './attention-mask.ts';

/** The value with its last two axes exchanged: what was transposed where it was, else a Transpose of it. */
export function untransposed(graph: GraphEditor, value: Value): Value {
  const rank = value.shape.length;
  const swap = Array.from({ length: rank }, (_, i) => i);
  [swap[rank - 2], swap[rank - 1]] = [rank - 1, rank - 2];
  const node = producerOf(graph, value, 'Transpose');
  if (!node) return graph.transpose(value, swap);
  const perm = permOf(node);
  return graph.transpose(
    node.inputs[0]!,
    swap.map((axis) => perm[axis]!),
    node.name,
  );
}

/**
 * Batch and heads that the leading axes of the scores stand for. Scores of rank 3 have them in one axis: what was
 * [B, H, …] before tells them apart; without that each is a batch of one head.
 */
export function headSplit(
  graph: GraphEditor,
  scores: Shape,
  operands: readonly Value[],
  masks: readonly Mask[],
): [batch: number, heads: number] {
  if (scores.length === 4) return [scores[0]!, scores[1]!];
  if (scores.length === 2) return [1, 1];
  for (const mask of masks) if (mask.scores.length === 4) return [mask.scores[0]!, mask.scores[1]!];
  for (const value of operands) {
    const before = producerOf(graph, value, 'Reshape')?.inputs[0]!.shape;
    if (before?.length !== 4 || !equalShapes(before.slice(2), value.shape.slice(1))) continue;
    const [batch, heads] = before as readonly [number, number, number, number];
    if (batch * heads === scores[0]) return [batch, heads];
  }
  return [scores[0]!, 1];
}

/** A query, key or value as [B, H, length, size]; expanded where it is shared by batches or heads. */
export function toHeads(graph: GraphEditor, value: Value, [batch, heads]: readonly [number, number]): Value {
  const tail = value.shape.slice(-2);
  const target = [batch, heads, ...tail];
  if (sizeOf(value.shape) === sizeOf(target)) return graph.reshape(value, target);
  const rank4 = value.shape.length === 4 ? value : graph.reshape(value, [1, 1, ...tail]);
  const shape = graph.constant(target, [4], 'int64', `${value.name}/shape`);
  return graph.add({ op: 'Expand', name: value.name, inputs: [rank4, shape] }, [
    { dtype: value.dtype, shape: target },
  ])[0]!;
}

/**
 * What a key or value [B, H, T, D] was before its heads were repeated: seen as [B, K, 1, T, D], expanded to
 * [B, K, H / K, T, D] and seen as [B, H, T, D]. The value itself where it was not.
 */
export function repeatedHeads(graph: GraphEditor, value: Value): Value {
  const expanded = producerOf(graph, value, 'Reshape')?.inputs[0];
  const grouped = producerOf(graph, expanded, 'Expand')?.inputs[0];
  const source = producerOf(graph, grouped, 'Reshape')?.inputs[0] ?? grouped;
  if (!expanded || !grouped || !source) return value;
  const [batch, heads, length, size] = value.shape;
  const groups = grouped.shape[1];
  const fits =
    equalShapes(grouped.shape, [batch!, groups!, 1, length!, size!]) &&
    equalShapes(expanded.shape, [batch!, groups!, heads! / groups!, length!, size!]);
  return fits ? graph.reshape(source, [batch!, groups!, length!, size!]) : value;
}
