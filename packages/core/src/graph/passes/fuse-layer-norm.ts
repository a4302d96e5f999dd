import { intAttribute, intsAttribute } from '../../ops/operands.ts';
import type { GraphEditor } from '../edit.ts';
import { attributeMap } from '../emit.ts';
import type { Node, Value } from '../graph.ts';
import { dataOf, eitherOrder, isPerIndex, near, producerOf, scalarOf, userOf } from '../match.ts';
import type { Pass } from './pass.ts';

/**
 * LayerNormalization and RMSNormalization from their formulas: x divided by the root of the mean of its squares, after
 * its mean was subtracted or not, then times scale, then plus bias, over the last axis.
 */
export const fuseLayerNorm: Pass = {
  name: 'fuse-layer-norm',
  run(graph) {
    for (const node of graph.nodes()) {
      if (graph.has(node) && isLastAxisMean(node)) fuse(graph, node);
    }
  },
};

function fuse(graph: GraphEditor, meanOfSquares: Node): void {
  const centered = squared(graph, meanOfSquares.inputs[0]!);
  const shifted = centered && userOf(graph, meanOfSquares.outputs[0]!, 'Add');
  const epsilon = shifted && eitherOrder(shifted, scalarOf);
  const normalized = epsilon && divideByRoot(graph, centered, shifted.outputs[0]!);
  if (!normalized) return;
  const source = meanSubtracted(graph, centered);
  const x = source ?? centered;
  const size = x.shape.at(-1)!;
  const scale = affine(graph, normalized, 'Mul', size);
  const bias = source && affine(graph, scale?.result ?? normalized, 'Add', size);
  const result = bias?.result ?? scale?.result ?? normalized;
  const ones = (): Value =>
    graph.constant(new Array<number>(size).fill(1), [size], x.dtype, `${result.name}/ones`);
  const parameter = (value: Value | undefined): Value[] => (value ? [graph.reshape(value, [size])] : []);
  graph.redefine(result, {
    op: source ? 'LayerNormalization' : 'RMSNormalization',
    name: meanOfSquares.name,
    inputs: [x, ...(scale ? parameter(scale.parameter) : [ones()]), ...parameter(bias?.parameter)],
    attributes: attributeMap({
      axis: -1,
      epsilon: epsilon.found,
    }),
  });
}

function isLastAxisMean(node: Node): boolean {
  if (node.domain !== '' || node.op !== 'ReduceMean' || intAttribute(node, 'keepdims', 1) !== 1) return false;
  const rank = node.inputs[0]!.shape.length;
  const axes = Array.from(dataOf(node.inputs[1]) ?? intsAttribute(node, 'axes', []));
  return axes.length === 1 && (axes[0] === -1 || axes[0] === rank - 1);
}

/** What a value is the square of. */
function squared(graph: GraphEditor, value: Value): Value | undefined {
  const node = producerOf(graph, value, 'Mul', 'Pow');
  if (!node || graph.soleUser(value) === undefined) return undefined;
  const [a, b] = node.inputs;
  return (node.op === 'Mul' ? a === b : scalarOf(b) === 2) ? a : undefined;
}

/** `x / sqrt(v)` in its spellings: the value that holds it. */
function divideByRoot(graph: GraphEditor, x: Value, v: Value): Value | undefined {
  const root = userOf(graph, v, 'Sqrt', 'Pow');
  if (!root) return undefined;
  const [y] = root.outputs;
  const power = root.op === 'Sqrt' ? 0.5 : scalarOf(root.inputs[1]);
  if (power === -0.5) return product(graph, x, y!);
  if (power !== 0.5) return undefined;
  const inverse = userOf(graph, y!, 'Reciprocal', 'Div');
  if (inverse?.op === 'Div' && inverse.inputs[1] === y && inverse.inputs[0] === x) return inverse.outputs[0];
  const isInverse =
    inverse?.op === 'Reciprocal' || (inverse?.inputs[1] === y && near(scalarOf(inverse?.inputs[0]), 1));
  return inverse && isInverse ? product(graph, x, inverse.outputs[0]!) : undefined;
}

function product(graph: GraphEditor, x: Value, factor: Value): Value | undefined {
  const node = userOf(graph, factor, 'Mul');
  return node?.inputs.includes(x) ? node.outputs[0] : undefined;
}

/** What the mean over the last axis was subtracted from. */
function meanSubtracted(graph: GraphEditor, value: Value): Value | undefined {
  const sub = producerOf(graph, value, 'Sub');
  const mean = producerOf(graph, sub?.inputs[1], 'ReduceMean');
  return mean && isLastAxisMean(mean) && mean.inputs[0] === sub?.inputs[0] ? mean.inputs[0] : undefined;
}

/** A following `op` with one number for each index of the last axis. */
function affine(
  graph: GraphEditor,
  value: Value,
  op: string,
  size: number,
): { parameter: Value; result: Value } | undefined {
  const node = userOf(graph, value, op);
  const parameter = node && eitherOrder(node, (v) => (v === value ? true : undefined))?.other;
  const rank = value.shape.length;
  if (!parameter || !isPerIndex(parameter, rank - 1, rank, size)) return undefined;
  return { parameter, result: node.outputs[0]! };
}
