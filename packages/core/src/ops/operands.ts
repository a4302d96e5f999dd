import { ShapeError } from '../errors.ts';
import type { Node, Value } from '../graph/graph.ts';
import type { Attribute, TensorRef } from '../onnx/model.ts';
import type { CpuTensor } from './op.ts';

// How operators read attributes and the operands that shapes depend on. Numbers are taken from integer and float
// attributes alike where they fit: rewrites write `1` where a file has `1.0`.

/**
 * Thrown by `constantOperand` for an operand whose elements are not known yet. Never leaves the graph stage: the
 * specializer reads the weight or asks the session for the graph input, and infers the node again.
 */
export class NeedsOperandValue extends Error {
  override name = 'NeedsOperandValue';
  readonly node: Node;
  readonly index: number;
  readonly value: Value;

  constructor(node: Node, index: number, value: Value) {
    super(`Internal error: the value of operand ${index} of ${describe(node)} was not provided`);
    this.node = node;
    this.index = index;
    this.value = value;
  }
}

/** The node as errors call it. */
export function describe(node: Node): string {
  const op = node.domain === '' ? node.op : `${node.domain}.${node.op}`;
  return node.name === '' ? op : `${op} '${node.name}'`;
}

/** The operand at `index`. Throws `ShapeError` when it is absent. */
export function operand(node: Node, index: number): Value {
  const value = node.inputs[index];
  if (!value) {
    throw new ShapeError(describe(node), { expected: `an operand ${index}`, actual: 'none' });
  }
  return value;
}

/** The first `count` operands. Throws where one is absent. */
export function operands(node: Node, count: number): Value[] {
  return Array.from({ length: count }, (_, index) => operand(node, index));
}

/** Whether there is an operand at `index`. */
export function hasOperand(node: Node, index: number): boolean {
  return node.inputs[index] !== undefined;
}

/** Elements of an operand that must be known on the CPU: a shape, axes, pads. Throws where it is absent. */
export function constantOperand(node: Node, index: number): CpuTensor {
  const value = operand(node, index);
  if (value.origin.kind !== 'constant') throw new NeedsOperandValue(node, index, value);
  return { dtype: value.dtype, shape: value.shape, data: value.origin.data };
}

/** The same for an operand that may be absent. */
export function optionalConstantOperand(node: Node, index: number): CpuTensor | undefined {
  return hasOperand(node, index) ? constantOperand(node, index) : undefined;
}

/** Elements of a constant operand as an array. */
export function intsOperand(node: Node, index: number): number[] {
  return Array.from(constantOperand(node, index).data);
}

/** The element of a constant operand that has one. */
export function scalarOperand(node: Node, index: number): number {
  const { data } = constantOperand(node, index);
  if (data.length !== 1)
    throw new ShapeError(describe(node), {
      expected: `one element as operand ${index}`,
      actual: `${data.length}`,
    });
  return data[0]!;
}

/**
 * What older operator sets have as the attribute `name` and newer ones as operand `index`: axes of Squeeze, splits,
 * pads. `undefined` where neither is given.
 */
export function intsOperandOrAttribute(node: Node, index: number, name: string): number[] | undefined {
  return hasOperand(node, index) ? intsOperand(node, index) : intsAttribute(node, name);
}

/** Integer attribute. Throws `ShapeError` for one of another type. */
export function intAttribute(node: Node, name: string): number | undefined;
export function intAttribute(node: Node, name: string, missing: number): number;
export function intAttribute(node: Node, name: string, missing?: number): number | undefined {
  const value = floatAttribute(node, name);
  if (value === undefined) return missing;
  if (!Number.isInteger(value)) throw wrongType(node, name, 'int');
  return value;
}

export function floatAttribute(node: Node, name: string): number | undefined;
export function floatAttribute(node: Node, name: string, missing: number): number;
export function floatAttribute(node: Node, name: string, missing?: number): number | undefined {
  const attribute = node.attributes.get(name);
  if (!attribute) return missing;
  if (attribute.type !== 'int' && attribute.type !== 'float') throw wrongType(node, name, 'number');
  return attribute.value;
}

export function intsAttribute(node: Node, name: string): number[] | undefined;
export function intsAttribute(node: Node, name: string, missing: readonly number[]): number[];
export function intsAttribute(node: Node, name: string, missing?: readonly number[]): number[] | undefined {
  const value = floatsAttribute(node, name);
  if (value === undefined) return missing?.slice();
  if (!value.every(Number.isInteger)) throw wrongType(node, name, 'list of ints');
  return value;
}

export function floatsAttribute(node: Node, name: string): number[] | undefined;
export function floatsAttribute(node: Node, name: string, missing: readonly number[]): number[];
export function floatsAttribute(node: Node, name: string, missing?: readonly number[]): number[] | undefined {
  const attribute = node.attributes.get(name);
  if (!attribute) return missing?.slice();
  if (attribute.type !== 'ints' && attribute.type !== 'floats') {
    throw wrongType(node, name, 'list of numbers');
  }
  return attribute.value.slice();
}

export function stringAttribute(node: Node, name: string): string | undefined;
export function stringAttribute(node: Node, name: string, missing: string): string;
export function stringAttribute(node: Node, name: string, missing?: string): string | undefined {
  const attribute = node.attributes.get(name);
  if (!attribute) return missing;
  if (attribute.type !== 'string') throw wrongType(node, name, 'string');
  return attribute.value;
}

/** Tensor attribute (of `Constant`, `ConstantOfShape`); its elements come through `toNumbers` of onnx/. */
export function tensorAttribute(node: Node, name: string): TensorRef | undefined {
  const attribute = node.attributes.get(name);
  if (!attribute) return undefined;
  if (attribute.type !== 'tensor') throw wrongType(node, name, 'tensor');
  return attribute.value;
}

function wrongType(node: Node, name: string, expected: string): ShapeError {
  const attribute: Attribute | undefined = node.attributes.get(name);
  return new ShapeError(describe(node), {
    expected: `${name} to be a ${expected}`,
    actual: attribute?.type ?? 'none',
  });
}
