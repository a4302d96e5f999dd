import { equalShapes, type Shape } from '../../tensor/shape.ts';
import type { GraphEditor } from '../edit.ts';
import type { Node, Value } from '../graph.ts';
import { eitherOrder, producerOf, scalarOf } from '../match.ts';
import type { Mask } from './attention-mask.ts';

/** What attention scores were found to be: q·k·scale, masked. */
export interface Scores {
  q: Value;
  /** [..., D, T] */
  kTransposed: Value;
  scale: number;
  masks: Mask[];
}

/** Reads scores backwards from the softmax. `undefined` where they are not a product, or someone else wants a part. */
export function parseScores(graph: GraphEditor, value: Value): Scores | undefined {
  const node = producerOf(graph, value, 'MatMul', 'Mul', 'Div', 'Add', 'Where', 'Reshape');
  if (!node || !graph.soleUser(value)) return undefined;
  switch (node.op) {
    case 'MatMul': {
      const q = unscaled(graph, node.inputs[0]!);
      const k = unscaled(graph, node.inputs[1]!);
      return { q: q.value, kTransposed: k.value, scale: q.scale * k.scale, masks: [] };
    }
    case 'Reshape':
      // Heads that are part of the batch get an axis of their own where the mask is added.
      return equalShapes(node.inputs[0]!.shape.slice(-2), value.shape.slice(-2))
        ? parseScores(graph, node.inputs[0]!)
        : undefined;
    case 'Add': {
      const sides = eitherOrder(node, (side) => parseScores(graph, side));
      return sides && masked(sides.found, { kind: 'add', value: sides.other, scores: value.shape });
    }
    case 'Where':
      return where(graph, node, value.shape);
    default: {
      const factor = scalarFactor(node);
      const inner = factor && parseScores(graph, factor.of);
      // A mask added before the scaling would have to be scaled too.
      return inner && inner.masks.length === 0 ? { ...inner, scale: inner.scale * factor.factor } : undefined;
    }
  }
}

/** `Where(keep, scores, fill)` or `Where(hide, fill, scores)`. */
function where(graph: GraphEditor, node: Node, shape: Shape): Scores | undefined {
  const [condition, a, b] = node.inputs;
  for (const [scores, other, keeps] of [
    [a, b, true],
    [b, a, false],
  ] as const) {
    const fill = scalarOf(other);
    if (fill === undefined || fill > -1e3) continue;
    const inner = parseScores(graph, scores!);
    if (inner) return masked(inner, { kind: 'where', value: condition!, keeps, fill, scores: shape });
  }
  return undefined;
}

function masked(scores: Scores, mask: Mask): Scores {
  return { ...scores, masks: [...scores.masks, mask] };
}

/** A value without the constant it is multiplied by. */
function unscaled(graph: GraphEditor, value: Value): { value: Value; scale: number } {
  const node = producerOf(graph, value, 'Mul', 'Div');
  const factor = node && scalarFactor(node);
  return factor && factor.of.shape.length === value.shape.length
    ? { value: factor.of, scale: factor.factor }
    : { value, scale: 1 };
}

function scalarFactor(node: Node): { of: Value; factor: number } | undefined {
  if (node.op === 'Div') {
    const divisor = scalarOf(node.inputs[1]);
    return divisor === undefined ? undefined : { of: node.inputs[0]!, factor: 1 / divisor };
  }
  const sides = eitherOrder(node, scalarOf);
  return sides && { of: sides.other, factor: sides.found };
}
