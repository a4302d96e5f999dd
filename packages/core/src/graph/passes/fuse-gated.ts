import { intAttribute } from '../../ops/operands.ts';
import { lookup } from '../../ops/registry.ts';
import { scalarFunctions } from '../scalar-functions.ts';
import { equalShapes } from '../../tensor/shape.ts';
import type { GraphEditor } from '../edit.ts';
import { attributeMap } from '../emit.ts';
import { type Node, OWN_DOMAIN, type Value } from '../graph.ts';
import { dataOf, producerOf } from '../match.ts';
import { isElementwise } from './fuse-elementwise.ts';
import { biasOf } from './linear.ts';
import { LoadTime } from './load-time.ts';
import type { Pass } from './pass.ts';

/**
 * GEGLU and SwiGLU: `left · activation(right)`, both from products of one x with weights, become one `GatedMatMul` whose
 * weight has the columns of both. See `ops/matmul.ts`.
 */
export const fuseGated: Pass = {
  name: 'fuse-gated',
  run(graph) {
    if (!lookup(OWN_DOMAIN, 'GatedMatMul')) return;
    const loadTime = new LoadTime(graph);
    for (const node of graph.nodes()) {
      if (graph.has(node) && isElementwise(node)) fuse(graph, node, loadTime);
    }
  },
};

function fuse(graph: GraphEditor, node: Node, loadTime: LoadTime): void {
  const gate = gateOf(node);
  const [left, right] = node.inputs;
  if (
    !gate ||
    !left ||
    !right ||
    left === right ||
    graph.soleUser(left) !== node ||
    graph.soleUser(right) !== node
  )
    return;
  const source = halves(graph, left, right, loadTime) ?? siblings(graph, left, right, loadTime);
  if (!source) return;
  // Which half is activated: 1 is the right one.
  const half = gate.activated === source.order ? 0 : 1;
  graph.redefine(node.outputs[0]!, {
    op: 'GatedMatMul',
    domain: OWN_DOMAIN,
    inputs: source.bias ? [source.x, source.weight, source.bias] : [source.x, source.weight],
    attributes: attributeMap({
      activation: gate.activation,
      gate: half,
    }),
  });
}

/** `x0 · f(x1)` or `f(x0) · x1`: the function and which operand it is of. */
function gateOf(node: Node): { activation: string; activated: number } | undefined {
  const { expr } = node;
  if (expr?.kind !== 'call' || expr.fn !== 'mul' || node.inputs.length !== 2) return undefined;
  const [a, b] = expr.args;
  for (const [plain, active] of [
    [a, b],
    [b, a],
  ] as const) {
    if (plain?.kind !== 'input' || active?.kind !== 'call' || active.args.length !== 1) continue;
    const [argument] = active.args;
    if (argument?.kind !== 'input' || argument.index === plain.index || argument.type !== 'f32') continue;
    if (scalarFunctions[active.fn]?.js.length === 1)
      return { activation: active.fn, activated: argument.index };
  }
  return undefined;
}

interface Source {
  x: Value;
  weight: Value;
  bias: Value | undefined;
  /** Which of the node's operands is the left half. */
  order: 0 | 1;
}

/** Both operands are halves of the last axis of one product. */
function halves(graph: GraphEditor, left: Value, right: Value, loadTime: LoadTime): Source | undefined {
  const [a, b] = [partOf(graph, left), partOf(graph, right)];
  if (!a || !b || a.of !== b.of || !equalShapes(left.shape, right.shape)) return undefined;
  const size = left.shape.at(-1)!;
  if (a.start + b.start !== size || a.of.shape.at(-1) !== 2 * size) return undefined;
  if (graph.users(a.of).some((user) => user !== graph.producer(left) && user !== graph.producer(right)))
    return undefined;
  const product = biasOf(graph, a.of, loadTime);
  const weight = product && weightOf(graph, product.node, loadTime);
  if (!weight || graph.isOutput(a.of)) return undefined;
  return { x: product.node.inputs[0]!, weight, bias: product.bias, order: a.start === 0 ? 0 : 1 };
}

/** Where on the last axis of what a value is a contiguous part. */
function partOf(graph: GraphEditor, value: Value): { of: Value; start: number } | undefined {
  const node = producerOf(graph, value, 'Split', 'Slice');
  if (!node) return undefined;
  const of = node.inputs[0]!;
  const last = of.shape.length - 1;
  if (node.op === 'Split') {
    const axis = intAttribute(node, 'axis', 0);
    if (axis !== -1 && axis !== last) return undefined;
    const at = node.outputs.indexOf(value);
    return { of, start: node.outputs.slice(0, at).reduce((sum, part) => sum + part.shape[last]!, 0) };
  }
  const [starts, , axes, steps] = [1, 2, 3, 4].map((index) => dataOf(node.inputs[index]));
  if (starts?.length !== 1 || (steps && steps[0] !== 1)) return undefined;
  const axis = axes ? axes[0]! : 0;
  if (axis !== -1 && axis !== last) return undefined;
  const start = starts[0]! < 0 ? starts[0]! + of.shape[last]! : starts[0]!;
  return { of, start };
}

/** Two products of the same x with weights of the same size. */
function siblings(graph: GraphEditor, left: Value, right: Value, loadTime: LoadTime): Source | undefined {
  const [a, b] = [producerOf(graph, left, 'MatMul'), producerOf(graph, right, 'MatMul')];
  if (!a || !b || a.inputs[0] !== b.inputs[0] || a.epilogue || b.epilogue) return undefined;
  const [first, second] = [weightOf(graph, a, loadTime), weightOf(graph, b, loadTime)];
  if (!first || !second || !equalShapes(first.shape, second.shape) || first.dtype !== second.dtype)
    return undefined;
  // Quantized weights stay as they are: joined they would have to be unpacked.
  if (first.origin.kind !== 'weight' || second.origin.kind !== 'weight') return undefined;
  const [rows, columns] = first.shape as readonly [number, number];
  const content = {
    op: 'Concat',
    name: `${a.name}/weights`,
    inputs: [first, second],
    attributes: attributeMap({ axis: 1 }),
  };
  const [weight] = graph.add(content, [{ dtype: first.dtype, shape: [rows, 2 * columns] }]);
  return { x: a.inputs[0]!, weight: weight!, bias: undefined, order: 0 };
}

/** The weight [K, N] of a product that has one. */
function weightOf(graph: GraphEditor, node: Node, loadTime: LoadTime): Value | undefined {
  const weight = node.inputs[1]!;
  if (node.epilogue || weight.shape.length !== 2 || node.inputs[0]!.shape.length < 2 || !loadTime.has(weight))
    return undefined;
  const turned = node.op === 'Gemm' && intAttribute(node, 'transB', 0) !== 0;
  return turned ? graph.transpose(weight, [1, 0], `${node.name}/weight`) : weight;
}
