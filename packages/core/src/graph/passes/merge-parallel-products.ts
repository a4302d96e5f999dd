import { intAttribute } from '../../ops/operands.ts';
import { oneNumber } from '../../ops/quantize-linear.ts';
import { isFloat } from '../../tensor/dtype.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { GraphEditor } from '../edit.ts';
import { attributeMap } from '../emit.ts';
import { call, input } from '../expr.ts';
import { type Node, operandsOf, OWN_DOMAIN, type Value } from '../graph.ts';
import { producerOf } from '../match.ts';
import { isElementwise } from './fuse-elementwise.ts';
import { biasOf, type Linear } from './linear.ts';
import { LoadTime } from './load-time.ts';
import type { Pass } from './pass.ts';

/** Elements of the largest weight that is made: 64 MiB in f32, half of what every device can bind. */
const weightLimit = 2 ** 24;

interface Member extends Linear {
  /** What the rest of the graph reads: with the bias. */
  result: Value;
  /** Members of equal keys can become one. */
  key: string;
}

/**
 * Products of one x with several weights become one product with the weights side by side: queries, keys and values;
 * the projections of a time embedding for all blocks. The results are views of one another's columns.
 */
export const mergeParallelProducts: Pass = {
  name: 'merge-parallel-products',
  run(graph) {
    const loadTime = new LoadTime(graph);
    const groups = new Map<Value, Map<string, Member[]>>();
    for (const node of graph.nodes()) {
      const member = memberOf(graph, node, loadTime);
      if (!member) continue;
      const { key } = member;
      const [x] = member.node.inputs as [Value];
      const byKind = groups.get(x) ?? new Map<string, Member[]>();
      groups.set(x, byKind.set(key, [...(byKind.get(key) ?? []), member]));
    }
    for (const byKind of groups.values()) {
      for (const members of byKind.values()) for (const chunk of chunks(members)) merge(graph, chunk);
    }
  },
};

/** A product with a weight from the file, if it is one and gains by being merged. */
function memberOf(graph: GraphEditor, node: Node, loadTime: LoadTime): Member | undefined {
  if (node.domain !== '' || (node.op !== 'MatMul' && node.op !== 'Gemm')) return undefined;
  const weight = node.inputs[1]!;
  const stored = weight.shape.length === 2 && isFloat(weight.dtype) ? storedAs(graph, node) : undefined;
  if (stored === undefined) return undefined;
  if (node.inputs[0]!.shape.length < 2 || loadTime.has(node.inputs[0]!)) return undefined;
  const direct = node.outputs[0]!;
  const add = node.op === 'MatMul' ? graph.soleUser(direct) : undefined;
  const result =
    isElementwise(add) && biasOf(graph, add.outputs[0]!, loadTime)?.node === node ? add.outputs[0]! : direct;
  // A result that goes through an elementwise node is finished in the product's epilogue, which is worth as much.
  if (graph.users(result).some(isElementwise) || graph.isOutput(result)) return undefined;
  const linear = biasOf(graph, result, loadTime);
  const turned = intAttribute(node, 'transB', 0);
  const key = [node.op, turned, weight.dtype, linear?.bias?.dtype ?? '', stored].join('|');
  return linear && { ...linear, result, key };
}

/** How the weight of a product lies in the file, in words that are equal where two can lie side by side. */
function storedAs(graph: GraphEditor, product: Node): string | undefined {
  const weight = product.inputs[1]!;
  if (weight.origin.kind === 'weight') return 'floats';
  const node = producerOf(graph, weight, 'DequantizeLinear');
  if (!node || graph.soleUser(weight) !== product) return undefined;
  // An absent zero point may have its place among the inputs.
  const operands = operandsOf(node);
  if (!operands.every(({ origin }) => origin.kind !== 'node' && origin.kind !== 'input')) return undefined;
  const [, scale, zero] = operands as [Value, Value, Value?];
  const columns = columnAxis(product);
  const axis = intAttribute(node, 'axis', 1);
  const block = intAttribute(node, 'block_size', 0);
  const isByColumn = scale.shape.length === 1 && axis === columns && scale.shape[0] === weight.shape[columns];
  const isInBlocks = scale.shape.length === 2 && axis === 1 - columns && block > 0;
  if (!isByColumn && !isInBlocks) return undefined;
  return [axis, block, ...operands.map(({ dtype }) => dtype), zero && oneNumber(zero)].join();
}

/** The axis of the weight along which the results lie. */
function columnAxis(product: Node): number {
  return product.op === 'Gemm' && intAttribute(product, 'transB', 0) !== 0 ? 0 : 1;
}

function chunks(members: readonly Member[]): Member[][] {
  const made: Member[][] = [];
  let elements = Infinity;
  for (const member of members) {
    const own = sizeOf(member.node.inputs[1]!.shape);
    if (elements + own > weightLimit) {
      made.push([]);
      elements = 0;
    }
    made.at(-1)!.push(member);
    elements += own;
  }
  return made.filter((chunk) => chunk.length > 1);
}

function merge(graph: GraphEditor, members: readonly Member[]): void {
  const { node, bias, result } = members[0]!;
  const columns = columnAxis(node);
  const weights = members.map((member) => member.node.inputs[1]!);
  const weight = weightsTogether(graph, weights, columns, `${node.name}/weights`);
  const biases =
    bias &&
    concat(
      graph,
      members.map((member) => member.bias!),
      0,
      `${node.name}/biases`,
    );
  const shape = [...result.shape.slice(0, -1), weight.shape[columns]!];
  const type = { dtype: result.dtype, shape };
  const { op, attributes, name, opset } = node;
  const x = node.inputs[0]!;
  let merged: Value;
  if (op === 'Gemm') {
    [merged] = graph.add(
      { op, name, opset, attributes, inputs: biases ? [x, weight, biases] : [x, weight] },
      [type],
    ) as [Value];
  } else {
    [merged] = graph.add({ op, name, opset, attributes, inputs: [x, weight] }, [type]) as [Value];
    if (biases) {
      const add = graph.producer(result)!;
      const content = { op: 'Elementwise', domain: OWN_DOMAIN, name: add.name, inputs: [merged, biases] };
      [merged] = graph.add({ ...content, expr: call('add', [input(0), input(1)]) }, [type]) as [Value];
    }
  }
  const sizes = members.map((member) => member.result.shape.at(-1)!);
  const split = graph.constant(sizes, [sizes.length], 'int64', `${name}/sizes`);
  const parts = graph.add(
    { op: 'Split', name: `${name}/parts`, inputs: [merged, split], attributes: attributeMap({ axis: -1 }) },
    members.map((member) => ({ dtype: member.result.dtype, shape: member.result.shape })),
  );
  members.forEach((member, i) => graph.replace(member.result, parts[i]!));
}

/** Weights side by side: of integers these, their scales and their zero points are. */
function weightsTogether(
  graph: GraphEditor,
  weights: readonly Value[],
  columns: number,
  name: string,
): Value {
  const first = producerOf(graph, weights[0], 'DequantizeLinear');
  if (!first) return concat(graph, weights, columns, name);
  const inputs = operandsOf(first).map((operand, i) => {
    const operands = weights.map((weight) => operandsOf(graph.producer(weight)!)[i]!);
    const axis = operand.shape.length === 1 ? 0 : columns;
    // Kernels take a zero point that is one number for all as that.
    const zero = i === 2 ? oneNumber(operand) : undefined;
    if (zero === undefined) return concat(graph, operands, axis, `${name}_${i}`);
    const shape = shapeTogether(operands, axis);
    const zeros = new Array<number>(sizeOf(shape)).fill(zero);
    return graph.constant(zeros, shape, operand.dtype, `${name}_zero`);
  });
  const { op, opset, attributes } = first;
  const type = { dtype: weights[0]!.dtype, shape: inputs[0]!.shape };
  return graph.add({ op, opset, attributes, name, inputs }, [type])[0]!;
}

function concat(graph: GraphEditor, values: readonly Value[], axis: number, name: string): Value {
  const content = { op: 'Concat', name, inputs: [...values], attributes: attributeMap({ axis }) };
  const type = { dtype: values[0]!.dtype, shape: shapeTogether(values, axis) };
  return graph.add(content, [type])[0]!;
}

function shapeTogether(values: readonly Value[], axis: number): number[] {
  const dim = values.reduce((sum, value) => sum + value.shape[axis]!, 0);
  return [...values[0]!.shape].with(axis, dim);
}
