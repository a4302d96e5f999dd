import { convertTo, scalarTypeOf } from '../../ops/scalar-types.ts';
import { equalShapes, sizeOf } from '../../tensor/shape.ts';
import type { GraphEditor } from '../edit.ts';
import { countCalls, countReads, type Expr, input, substitute } from '../expr.ts';
import { type Node, OWN_DOMAIN, type Value } from '../graph.ts';
import { scalarOf } from '../match.ts';
import type { Pass } from './pass.ts';
import { LoadTime } from './load-time.ts';
import { elementwise } from './to-elementwise.ts';

/** WebGPU promises 8 storage buffers to a shader; one is the result, one is left for an epilogue's host. */
const maxOperands = 6;
/** Expressions are trees: a subexpression read twice is written twice, and the compiler has to find that out. */
const maxCalls = 80;
/** Work that is rather done again for every element than written to memory. */
const cheapCalls = 2;
/** Elements of a tensor so small that a dispatch costs more than reading another operand. */
const smallSize = 16_384;
const cheapFunctions = new Set([
  'add',
  'sub',
  'mul',
  'neg',
  'min',
  'max',
  'abs',
  'square',
  'select',
  'not',
  'and',
  'or',
  'xor',
  'eq',
  'lt',
  'le',
  'gt',
  'ge',
  'toF32',
  'toI32',
  'toU32',
  'toBool',
]);

/** Merges elementwise nodes into those that use them, so that intermediate results are never stored. */
export const fuseElementwise: Pass = {
  name: 'fuse-elementwise',
  run(graph) {
    const loadTime = new LoadTime(graph);
    for (const node of graph.nodes()) {
      let current: Node | undefined = graph.has(node) && isElementwise(node) ? node : undefined;
      while (current) current = mergeOne(graph, current, loadTime);
    }
  },
};

export function isElementwise(node: Node | undefined): node is Node & { expr: Expr } {
  return node?.domain === OWN_DOMAIN && node.op === 'Elementwise';
}

/** The node with one of its producers merged into it. `undefined` where none may be. */
function mergeOne(graph: GraphEditor, node: Node, loadTime: LoadTime): Node | undefined {
  for (const value of node.inputs) {
    const producer = value && graph.producer(value);
    if (!isElementwise(producer) || !value || !mayMerge(graph, producer, value, node, loadTime)) continue;
    const operands = [...node.inputs, ...producer.inputs] as Value[];
    const offset = node.inputs.length;
    const expr = substitute(node.expr!, (e) =>
      node.inputs[e.index] === value ? inlined(producer, value, offset, e.type) : e,
    );
    const content = elementwise(operands, expr, node.outputs[0]!.shape, node.name);
    // What is read only through the producer must not stay an operand.
    if (content.inputs.includes(value)) continue;
    if (content.inputs.length > maxOperands || countCalls(content.expr!) > maxCalls) continue;
    return graph.redefine(node.outputs[0]!, content);
  }
  return undefined;
}

/** A producer's expression, reading its operands from `offset` on, as what its stored result would be read as. */
function inlined(producer: Node & { expr: Expr }, value: Value, offset: number, type: Expr['type']): Expr {
  const own = substitute(producer.expr, (e) => input(e.index + offset, e.type));
  return convertTo(convertTo(own, scalarTypeOf(value.dtype)), type);
}

function mayMerge(
  graph: GraphEditor,
  producer: Node & { expr: Expr },
  value: Value,
  node: Node,
  loadTime: LoadTime,
): boolean {
  const sole = graph.soleUser(value) !== undefined;
  const cheap = isCheap(producer.expr);
  if ((!sole && !cheap) || graph.isOutput(value)) return false;
  // What is computed once at load costs nothing later.
  if (loadTime.has(value) && !loadTime.has(node.outputs[0]!)) return false;
  const reads = countReads(node.expr!).get(node.inputs.indexOf(value)) ?? 0;
  if (sole) {
    const sameShape = equalShapes(value.shape, node.outputs[0]!.shape);
    return sameShape ? reads * countCalls(producer.expr) <= maxCalls : cheap;
  }
  const tensors = producer.inputs.filter((operand) => scalarOf(operand) === undefined);
  const light = tensors.length <= 1 || sizeOf(value.shape) <= smallSize;
  return cheap && light && graph.users(value).every(isElementwise);
}

function isCheap(expr: Expr): boolean {
  const onlyCheap = (e: Expr): boolean =>
    e.kind !== 'call' || (cheapFunctions.has(e.fn) && e.args.every(onlyCheap));
  return countCalls(expr) <= cheapCalls && onlyCheap(expr);
}
