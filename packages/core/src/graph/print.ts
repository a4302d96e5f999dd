import type { Attribute } from '../onnx/model.ts';
import { printExpr } from './expr.ts';
import type { Graph, Node, Value } from './graph.ts';

/**
 * The graph as text, one line a node, for tests and bug reports:
 * `%2: float32[1,8] = MatMul(%1, w:proj.weight) → silu(add(x0, x1)) with w:proj.bias`.
 */
export function printGraph(graph: Graph): string {
  const numbers = new Map<Value, string>();
  graph.nodes.forEach((node) => {
    for (const value of node.outputs) numbers.set(value, `%${numbers.size}`);
  });
  const name = (value: Value | undefined): string => (value ? (numbers.get(value) ?? printLeaf(value)) : '_');
  return [
    ...graph.inputs.map((value) => `input ${value.name}: ${printType(value)}`),
    ...graph.nodes.map((node) => printNode(node, name)),
    ...graph.outputs.map((value) => `output ${value.name} = ${name(value)}`),
  ].join('\n');
}

/** `float32[1,320,64,64]` */
export function printType({ dtype, shape }: Pick<Value, 'dtype' | 'shape'>): string {
  return `${dtype}[${shape.join(',')}]`;
}

function printNode(node: Node, name: (value: Value | undefined) => string): string {
  const results = node.outputs.map((value) => `${name(value)}: ${printType(value)}`).join(', ');
  const op = node.domain === '' || node.domain === 'calotype' ? node.op : `${node.domain}.${node.op}`;
  const attributes = [...node.attributes].map(([key, value]) => `${key}=${printAttribute(value)}`).join(' ');
  const own = node.expr ? ` ${printExpr(node.expr)}` : '';
  const more = node.epilogue
    ? ` → ${printExpr(node.epilogue.expr)}${node.epilogue.inputs.length > 0 ? ` with ${node.epilogue.inputs.map(name).join(', ')}` : ''}`
    : '';
  return `${results} = ${op}(${node.inputs.map(name).join(', ')})${attributes && ` {${attributes}}`}${own}${more}`;
}

function printLeaf(value: Value): string {
  switch (value.origin.kind) {
    case 'input':
      return value.name;
    case 'weight':
      return `w:${value.name}`;
    case 'constant': {
      const { data } = value.origin;
      const shown = Array.from(data.subarray(0, 8)).join(',');
      return data.length > 8
        ? `[${shown},… ${data.length}]`
        : value.shape.length === 0
          ? shown
          : `[${shown}]`;
    }
    case 'node':
      return `?${value.name}`;
  }
}

function printAttribute(attribute: Attribute): string {
  switch (attribute.type) {
    case 'float':
    case 'int':
    case 'string':
      return String(attribute.value);
    case 'floats':
    case 'ints':
    case 'strings':
      return `[${attribute.value.join(',')}]`;
    default:
      return attribute.type;
  }
}
