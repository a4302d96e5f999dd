import { intAttribute } from '../../ops/operands.ts';
import { isFloat } from '../../tensor/dtype.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { GraphEditor } from '../edit.ts';
import { attributeMap } from '../emit.ts';
import { call, input } from '../expr.ts';
import { type Node, OWN_DOMAIN, type Value } from '../graph.ts';
import { isElementwise } from './fuse-elementwise.ts';
import { biasOf, type Linear } from './linear.ts';
import { LoadTime } from './load-time.ts';
import type { Pass } from './pass.ts';

/** Elements of the largest weight that is made: 64 MiB in f32, half of what every device can bind. */
const weightLimit = 2 ** 24;

interface Member extends Linear {
  /** What the rest of the graph reads: with the bias. */
  result: Value;
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
      const { inputs, op } = member.node;
      const turned = intAttribute(member.node, 'transB', 0);
      const key = [op, turned, inputs[1]!.dtype, inputs[1]!.shape.length, member.bias?.dtype ?? ''].join('|');
      const byKind = groups.get(inputs[0]!) ?? new Map<string, Member[]>();
      groups.set(inputs[0]!, byKind.set(key, [...(byKind.get(key) ?? []), member]));
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
  if (weight.origin.kind !== 'weight' || weight.shape.length !== 2 || !isFloat(weight.dtype))
    return undefined;
  if (node.inputs[0]!.shape.length < 2 || loadTime.has(node.inputs[0]!)) return undefined;
  const direct = node.outputs[0]!;
  const add = node.op === 'MatMul' ? graph.soleUser(direct) : undefined;
  const result =
    isElementwise(add) && biasOf(graph, add.outputs[0]!, loadTime)?.node === node ? add.outputs[0]! : direct;
  // A result that goes through an elementwise node is finished in the product's epilogue, which is worth as much.
  if (graph.users(result).some(isElementwise) || graph.isOutput(result)) return undefined;
  const linear = biasOf(graph, result, loadTime);
  return linear && { ...linear, result };
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
  const columnAxis = node.op === 'Gemm' && intAttribute(node, 'transB', 0) !== 0 ? 0 : 1;
  const concat = (what: string, values: Value[], axis: number): Value => {
    const shape = [...values[0]!.shape];
    shape[axis] = values.reduce((sum, value) => sum + value.shape[axis]!, 0);
    const content = {
      op: 'Concat',
      name: `${node.name}/${what}`,
      inputs: values,
      attributes: attributeMap({ axis }),
    };
    return graph.add(content, [{ dtype: values[0]!.dtype, shape }])[0]!;
  };
  const weights = members.map((member) => member.node.inputs[1]!);
  const weight = concat('weights', weights, columnAxis);
  const biases = bias && concat('biases', members.map((member) => member.bias!), 0); // prettier-ignore
  const shape = [...result.shape.slice(0, -1), weight.shape[columnAxis]!];
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
