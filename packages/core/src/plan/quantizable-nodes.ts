import type { Graph, Node, Value } from '../graph/graph.ts';
import type { ModelGraph, ModelNode } from '../onnx/model.ts';
import { quantizableLayers } from './quantizable.ts';

/**
 * `quantizableLayers` for a graph as a file has it, without shapes: its nodes, by the ranks of its inputs. Conditions
 * inside it (`If`, `Loop`) are not looked into.
 */
export function quantizableNodes(model: ModelGraph): ReadonlySet<ModelNode> {
  const values = new Map<string, Value>();
  const graph: Graph = { inputs: [], outputs: [], nodes: [] };
  for (const { name, dtype = 'float32', shape } of model.inputs) {
    if (model.initializers.has(name)) continue;
    const ranks = shape?.map(() => 1) ?? [1, 1, 1];
    const input: Value = { name, dtype, shape: ranks, origin: { kind: 'input' } };
    values.set(name, input);
    graph.inputs.push(input);
  }
  const known = (name: string): Value => {
    const value = values.get(name) ?? constant(name);
    values.set(name, value);
    return value;
  };
  const originals = new Map<Node, ModelNode>();
  for (const original of model.nodes) {
    // Sizes of a picture are no picture.
    if (original.op === 'Shape' || original.op === 'Size') continue;
    const node: Node = {
      op: original.op,
      domain: original.domain,
      name: original.name,
      opset: 1,
      inputs: original.inputs.map((name) => (name === '' ? undefined : known(name))),
      outputs: [],
      attributes: original.attributes,
    };
    node.outputs = original.outputs.map((name, index) => {
      const value: Value = { name, dtype: 'float32', shape: [], origin: { kind: 'node', node, index } };
      values.set(name, value);
      return value;
    });
    originals.set(node, original);
    graph.nodes.push(node);
  }
  return new Set([...quantizableLayers(graph)].map((node) => originals.get(node)!));
}

function constant(name: string): Value {
  return { name, dtype: 'float32', shape: [], origin: { kind: 'constant', data: new Float64Array() } };
}
