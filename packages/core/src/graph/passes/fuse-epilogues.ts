import { lookup } from '../../ops/registry.ts';
import { isFloat } from '../../tensor/dtype.ts';
import { equalShapes } from '../../tensor/shape.ts';
import type { GraphEditor } from '../edit.ts';
import { countCalls, countReads, input, substitute } from '../expr.ts';
import type { Node, Value } from '../graph.ts';
import { isElementwise } from './fuse-elementwise.ts';
import type { Pass } from './pass.ts';

/** Storage buffers that WebGPU promises to a shader. */
const maxBuffers = 8;
const maxOperands = 4;
const maxCalls = 80;

/** Elementwise nodes after a product, convolution, norm or attention become its epilogue. */
export const fuseEpilogues: Pass = {
  name: 'fuse-epilogues',
  run(graph) {
    const position = new Map(graph.nodes().map((node, i) => [node, i]));
    for (const node of graph.nodes()) {
      if (!isElementwise(node)) continue;
      // The last producer: operands of the others are there before it runs.
      const hosts = node.inputs
        .flatMap((value) => (value && hostOf(graph, value, node) ? [value] : []))
        .sort((a, b) => position.get(graph.producer(b)!)! - position.get(graph.producer(a)!)!);
      hosts.some((value) => absorb(graph, graph.producer(value)!, node, value));
    }
  },
};

/** The node that gives the value, if it can finish the elementwise node's work. */
function hostOf(graph: GraphEditor, value: Value, node: Node): Node | undefined {
  const host = graph.producer(value);
  if (!host || host.outputs[0] !== value || !lookup(host.domain, host.op)?.acceptsEpilogue) return undefined;
  const result = node.outputs[0]!;
  const fits = equalShapes(value.shape, result.shape) && isFloat(value.dtype) && isFloat(result.dtype);
  return fits && graph.soleUser(value) === node ? host : undefined;
}

/** Operands that an epilogue may have beside those of the node, its result and the statistics of a norm. */
function operandLimit(host: Node): number {
  const own = host.inputs.filter((value) => value !== undefined).length;
  return Math.min(maxOperands, maxBuffers - own - 2);
}

function absorb(graph: GraphEditor, host: Node, node: Node, value: Value): boolean {
  const { expr } = node;
  const own = node.inputs.indexOf(value);
  const before = host.epilogue ?? { expr: input(0), inputs: [] };
  const more = node.inputs.filter((operand) => operand !== undefined && operand !== value) as Value[];
  const inputs = [...new Set([...before.inputs, ...more])];
  if (!expr || expr.type !== 'f32' || inputs.length > operandLimit(host)) return false;
  if ((countReads(expr).get(own) ?? 0) * countCalls(before.expr) + countCalls(expr) > maxCalls) return false;
  let readsAsFloat = true;
  const fused = substitute(expr, (e) => {
    if (e.index !== own) return { ...e, index: inputs.indexOf(node.inputs[e.index]!) + 1 };
    readsAsFloat &&= e.type === 'f32';
    return before.expr;
  });
  if (!readsAsFloat) return false;
  graph.absorb(host, node, { expr: fused, inputs });
  return true;
}
