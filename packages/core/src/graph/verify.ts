import { describe } from '../ops/operands.ts';
import { lookup } from '../ops/registry.ts';
import { isFloat } from '../tensor/dtype.ts';
import { equalShapes } from '../tensor/shape.ts';
import { operandsOf } from './graph.ts';
import type { Graph, Node, Value } from './graph.ts';
import { printType } from './print.ts';

/**
 * Checks what every pass must leave true: each value is defined once and before its uses, types are those that the
 * operators infer, names are unique, graph outputs are results of nodes.
 *
 * @param after pass to blame
 * @throws Error, always a bug of the pass
 */
export function verify(graph: Graph, after: string): void {
  const fail = (message: string): never => {
    throw new Error(`Internal error after ${after}: ${message}`);
  };
  const defined = new Set<Value>(graph.inputs);
  // An output may be called what an input is called: in the file they are one value.
  const names = new Set(graph.inputs.map(({ name }) => name));
  for (const { name } of graph.outputs) names.delete(name);
  for (const node of graph.nodes) {
    for (const value of operandsOf(node)) {
      const { kind } = value.origin;
      if ((kind === 'node' || kind === 'input') && !defined.has(value)) {
        fail(`${describe(node)} reads '${value.name}' before it is defined`);
      }
    }
    node.outputs.forEach((value, index) => {
      const { origin } = value;
      if (origin.kind !== 'node' || origin.node !== node || origin.index !== index) {
        fail(`'${value.name}' does not know that ${describe(node)} defines it`);
      }
      if (defined.has(value)) fail(`'${value.name}' is defined twice`);
      if (names.has(value.name)) fail(`two values are named '${value.name}'`);
      defined.add(value);
      names.add(value.name);
    });
    checkTypes(node, fail);
  }
  for (const value of graph.outputs) {
    if (value.origin.kind !== 'node' || !defined.has(value))
      fail(`output '${value.name}' is no node's result`);
  }
  if (new Set(graph.outputs).size < graph.outputs.length) fail('a value is two outputs');
}

function checkTypes(node: Node, fail: (message: string) => never): void {
  const definition = lookup(node.domain, node.op);
  if (!definition) return;
  // All floats are one arithmetic type inside the graph: casts between them are dropped.
  const plain = new Map<Value, Value>();
  const shadow = (value: Value): Value => {
    const known = plain.get(value);
    if (known) return known;
    const made: Value = { ...value, dtype: isFloat(value.dtype) ? 'float32' : value.dtype };
    plain.set(value, made);
    return made;
  };
  const types = definition.infer({
    ...node,
    inputs: node.inputs.map((value) => value && shadow(value)),
    outputs: node.outputs.map(shadow),
  });
  node.outputs.forEach((value, index) => {
    const type = types[index];
    const sameDtype = type && (type.dtype === value.dtype || (isFloat(type.dtype) && isFloat(value.dtype)));
    if (!type || !sameDtype || !equalShapes(type.shape, value.shape)) {
      fail(
        `${describe(node)} gives ${type ? printType(type) : 'nothing'} for '${value.name}', said to be ${printType(value)}`,
      );
    }
  });
  for (const value of node.epilogue?.inputs ?? []) {
    const missing = node.outputs[0]!.shape.length - value.shape.length;
    const fits = value.shape.every(
      (dim, axis) => dim === 1 || dim === node.outputs[0]!.shape[axis + missing],
    );
    if (missing < 0 || !fits) fail(`'${value.name}' does not broadcast to the result of ${describe(node)}`);
  }
}
