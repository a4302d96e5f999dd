import { floatAttribute, intAttribute } from '../../ops/operands.ts';
import type { GraphEditor } from '../edit.ts';
import type { Node, Value } from '../graph.ts';
import { isPerIndex, producerOf } from '../match.ts';
import { isElementwise } from './fuse-elementwise.ts';
import type { LoadTime } from './load-time.ts';

/** A product and the bias [N] that is added to it, by Gemm itself or by an elementwise node after MatMul. */
export interface Linear {
  /** MatMul or Gemm. */
  node: Node;
  bias: Value | undefined;
}

/** The product that gives `value`, where nothing but a constant bias is between. */
export function biasOf(graph: GraphEditor, value: Value, loadTime: LoadTime): Linear | undefined {
  const direct = producerOf(graph, value, 'MatMul', 'Gemm');
  if (direct) return plainGemm(graph, direct);
  const add = graph.producer(value);
  if (!isElementwise(add) || add.expr.kind !== 'call' || add.expr.fn !== 'add' || add.inputs.length !== 2)
    return undefined;
  if (!add.expr.args.every((arg) => arg.kind === 'input' && arg.type === 'f32')) return undefined;
  for (const [product, bias] of [add.inputs, [...add.inputs].reverse()]) {
    const node = producerOf(graph, product, 'MatMul');
    const rank = value.shape.length;
    const fits = bias && isPerIndex(bias, rank - 1, rank, value.shape[rank - 1]!) && loadTime.has(bias);
    if (!node || node.epilogue || !fits || graph.soleUser(product!) !== add) continue;
    return { node, bias: graph.reshape(bias, [value.shape[rank - 1]!]) };
  }
  return undefined;
}

/** A product without factors, its C being a bias [N]. */
function plainGemm(graph: GraphEditor, node: Node): Linear | undefined {
  if (node.epilogue) return undefined;
  if (node.op === 'MatMul') return { node, bias: undefined };
  const plain =
    intAttribute(node, 'transA', 0) === 0 &&
    floatAttribute(node, 'alpha', 1) === 1 &&
    floatAttribute(node, 'beta', 1) === 1;
  const bias = node.inputs[2];
  const columns = node.outputs[0]!.shape[1]!;
  if (!plain || (bias && !isPerIndex(bias, 1, 2, columns))) return undefined;
  return { node, bias: bias && graph.reshape(bias, [columns]) };
}
