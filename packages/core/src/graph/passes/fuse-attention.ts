import { intAttribute } from '../../ops/operands.ts';
import { equalShapes } from '../../tensor/shape.ts';
import { lookup } from '../../ops/registry.ts';
import type { GraphEditor, NodeContent } from '../edit.ts';
import { attributeMap } from '../emit.ts';
import { type Node, OWN_DOMAIN } from '../graph.ts';
import { scalarOf, userOf } from '../match.ts';
import { combineMasks, isCausal } from './attention-mask.ts';
import { headSplit, repeatedHeads, toHeads, untransposed } from './attention-heads.ts';
import type { Pass } from './pass.ts';
import { parseScores } from './attention-scores.ts';

/**
 * `Attention(q [B,H,S,D], k [B,K,T,D], v [B,K,T,E], mask?) -> [B,H,S,E]` from MatMul → scale → mask → Softmax →
 * MatMul, so that the scores [B,H,S,T] never are in memory. The scale may be split over q and k; masks may be
 * additive or the condition of a Where; heads may be axes of their own or part of the batch; K divides H where the
 * graph repeats keys and values. Attributes: `scale`, `causal`. The mask broadcasts to the scores: floats are added,
 * bool says which to keep.
 */
export const fuseAttention: Pass = {
  name: 'fuse-attention',
  run(graph) {
    for (const node of graph.nodes()) {
      if (!graph.has(node)) continue;
      if (node.domain === '' && node.op === 'Softmax') fuse(graph, node);
      else if (node.domain === OWN_DOMAIN && node.op === 'Attention') refine(graph, node);
    }
  },
};

/** What an exporter's own attention operator was expanded into: repeated heads and causal masks are seen through. */
function refine(graph: GraphEditor, node: Node): void {
  const [q, k, v, mask] = node.inputs;
  const [keys, values] = [repeatedHeads(graph, k!), repeatedHeads(graph, v!)];
  const causal = mask !== undefined && isCausal(mask, [...q!.shape.slice(0, 3), k!.shape[2]!]);
  const grouped = keys.shape[1] === values.shape[1] ? [keys, values] : [k, v];
  if (causal) node.attributes = new Map([...node.attributes, ['causal', { type: 'int', value: 1 }]]);
  graph.setInputs(node, [q, ...grouped, ...(mask && !causal ? [mask] : [])]);
}

function fuse(graph: GraphEditor, softmax: Node): void {
  const [scores] = softmax.inputs;
  const rank = scores!.shape.length;
  const axis = intAttribute(softmax, 'axis', softmax.opset >= 13 ? -1 : 1);
  if (rank < 2 || rank > 4 || (axis !== -1 && axis !== rank - 1)) return;
  const weighted = weightedSum(graph, softmax);
  const parsed = weighted && parseScores(graph, scores!);
  if (!parsed) return;

  const v = weighted.inputs[1]!;
  const result = weighted.outputs[0]!;
  const { q, kTransposed, scale } = parsed;
  // Only products of the same rank are split into heads the same way.
  if (q.shape.length !== rank || kTransposed.shape.length !== rank || v.shape.length !== rank) return;
  const k = untransposed(graph, kTransposed);
  const split = headSplit(graph, scores!.shape, [q, k, v], parsed.masks);
  const [batch, heads] = split;
  const tall = [...split, ...scores!.shape.slice(-2)];
  const mask = combineMasks(graph, parsed.masks, tall, softmax.name);
  if (mask === 'unfit') return;
  const causal = mask !== undefined && isCausal(mask, tall);
  const keys = repeatedHeads(graph, toHeads(graph, k, split));
  const values = repeatedHeads(graph, toHeads(graph, v, split));
  const grouped = keys.shape[1] === values.shape[1];
  const query = toHeads(graph, q, split);
  const inputs = [
    query,
    grouped ? keys : toHeads(graph, k, split),
    grouped ? values : toHeads(graph, v, split),
  ];
  const content = {
    op: 'Attention',
    domain: OWN_DOMAIN,
    name: softmax.name,
    inputs: mask && !causal ? [...inputs, mask] : inputs,
    attributes: attributeMap({
      scale,
      causal: causal ? 1 : 0,
    }),
  };
  const shape = [batch, heads, query.shape[2]!, v.shape.at(-1)!];
  if (refuses(content)) return;
  if (equalShapes(shape, result.shape)) {
    graph.redefine(result, content);
    return;
  }
  const [attended] = graph.add(content, [{ dtype: result.dtype, shape }]);
  const target = graph.constant([...result.shape], [result.shape.length], 'int64', `${softmax.name}/shape`);
  graph.redefine(result, { op: 'Reshape', inputs: [attended, target] });
}

/** Whether no kernel runs it: heads may be too large. The nodes made for it are dropped when nobody uses them. */
function refuses(content: NodeContent): boolean {
  const definition = lookup(OWN_DOMAIN, 'Attention');
  const node = { name: '', opset: 1, domain: OWN_DOMAIN, attributes: new Map(), ...content, outputs: [] };
  return definition?.refuse?.(node) !== undefined;
}

/** The product of the softmax with the values. Exporters put in between what turns NaN of fully masked rows into 0. */
function weightedSum(graph: GraphEditor, softmax: Node): Node | undefined {
  let weights = softmax.outputs[0]!;
  const users = graph.users(weights);
  const isNaN = users.find((node) => node.op === 'IsNaN');
  const guard = isNaN && userOf(graph, isNaN.outputs[0]!, 'Where');
  if (guard && users.length === 2 && scalarOf(guard.inputs[1]) === 0 && guard.inputs[2] === weights) {
    weights = guard.outputs[0]!;
  }
  const product = userOf(graph, weights, 'MatMul');
  return product?.inputs[0] === weights && product.inputs[1] !== weights ? product : undefined;
}
