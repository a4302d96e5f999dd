import { floatAttribute } from '../../ops/operands.ts';
import type { GraphEditor } from '../edit.ts';
import { attributeMap } from '../emit.ts';
import { type Node, OWN_DOMAIN, type Value } from '../graph.ts';
import { dataOf, eitherOrder, isPerIndex, producerOf, userOf } from '../match.ts';
import type { Pass } from './pass.ts';

/**
 * `GroupNorm(x, scale[C], bias[C])` from what older exporters write for it: InstanceNormalization on x seen as
 * [N, groups, …], seen as x again, times scale, plus bias.
 */
export const fuseGroupNorm: Pass = {
  name: 'fuse-group-norm',
  run(graph) {
    for (const node of graph.nodes()) {
      if (graph.has(node) && node.domain === '' && node.op === 'InstanceNormalization') fuse(graph, node);
    }
  },
};

function fuse(graph: GraphEditor, norm: Node): void {
  const [grouped, ones, zeros] = norm.inputs;
  const source = producerOf(graph, grouped, 'Reshape')?.inputs[0];
  const back = userOf(graph, norm.outputs[0]!, 'Reshape');
  if (!source || !back) return;
  const seen = back.outputs[0]!;
  const [batch, groups] = grouped!.shape;
  const channels = seen.shape[1];
  if (channels === undefined || seen.shape[0] !== batch || source.shape[0] !== batch) return;
  if (source.shape[1] !== channels || channels % groups! !== 0 || !holds(ones, 1) || !holds(zeros, 0)) return;
  const scale = affine(graph, seen, 'Mul');
  const bias = affine(graph, scale?.result ?? seen, 'Add');
  graph.redefine(bias?.result ?? scale?.result ?? seen, {
    op: 'GroupNorm',
    domain: OWN_DOMAIN,
    name: norm.name,
    inputs: operands(
      graph.reshape(source, seen.shape),
      scale && graph.reshape(scale.parameter, [channels]),
      bias && graph.reshape(bias.parameter, [channels]),
    ),
    attributes: attributeMap({
      groups: groups!,
      epsilon: floatAttribute(norm, 'epsilon', 1e-5),
    }),
  });
}

/** A following `op` with one number for each channel. */
function affine(
  graph: GraphEditor,
  value: Value,
  op: string,
): { parameter: Value; result: Value } | undefined {
  const node = userOf(graph, value, op);
  const parameter = node && eitherOrder(node, (v) => (v === value ? true : undefined))?.other;
  if (!parameter || !isPerIndex(parameter, 1, value.shape.length, value.shape[1]!)) return undefined;
  return { parameter, result: node.outputs[0]! };
}

function holds(value: Value | undefined, number: number): boolean {
  return dataOf(value)?.every((x) => x === number) ?? false;
}

function operands(x: Value, scale: Value | undefined, bias: Value | undefined): (Value | undefined)[] {
  return bias ? [x, scale, bias] : scale ? [x, scale] : [x];
}
