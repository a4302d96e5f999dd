import { ShapeError } from '../errors.ts';
import type { Attribute } from '../onnx/model.ts';
import type { Build, CpuTensor, OpDefinition, TensorType } from '../ops/op.ts';
import { describe, intAttribute } from '../ops/operands.ts';
import { lookup } from '../ops/registry.ts';
import { type DataType, isFloat } from '../tensor/dtype.ts';
import { equalShapes, formatShape, type Shape, sizeOf } from '../tensor/shape.ts';
import { evaluate } from './evaluate.ts';
import type { Node, Value } from './graph.ts';
import { isSmall } from './values.ts';

/** A node before its outputs have types. */
export type NodeParts = Omit<Node, 'outputs' | 'epilogue' | 'expr'>;

/** Operator set whose rules hold for nodes that the engine itself makes. */
export const newestRules = 23;

/** Appends typed nodes to a graph, computing on the CPU what is known and expanding composite operators. */
export class Emitter {
  #nodes: Node[] = [];
  readonly #names = new Map<string, number>();
  readonly #outputs = new Set<Value>();

  /** `name`, with a number where it is taken. */
  uniqueName(name: string): string {
    let unique = name;
    for (let n = this.#names.get(name); n !== undefined && this.#names.has(unique); n++) {
      unique = `${name}:${n}`;
      this.#names.set(name, n + 1);
    }
    this.#names.set(unique, 1);
    return unique;
  }

  /**
   * Adds a node and gives its results; nothing is added when an operand's value is missing.
   *
   * @param names of the outputs; `''` where nobody wants one
   * @throws NeedsOperandValue, ShapeError
   */
  emit(parts: NodeParts, names: readonly string[]): Value[] {
    const node: Node = { ...parts, outputs: [] };
    node.outputs = names.map((name, index): Value => {
      const origin = { kind: 'node', node, index } as const;
      return { name: name || `${parts.name}:${index}`, dtype: 'float32', shape: [], origin };
    });
    const definition = definitionOf(node);
    const types = definition.infer(node);
    if (types.length < node.outputs.length) {
      throw new ShapeError(describe(node), {
        expected: `at most ${types.length} outputs`,
        actual: String(names.length),
      });
    }
    node.outputs.forEach((value, index) => {
      value.dtype = types[index]!.dtype;
      value.shape = types[index]!.shape;
      if (!isShape(value.shape)) {
        const expected = 'at most 2^31 elements along an axis, and 2^53 in all';
        throw new ShapeError(describe(node), { expected, actual: formatShape(value.shape) });
      }
    });
    if (!this.fold(node) && definition.expand) return this.#expand(node, definition, types);
    for (const value of node.outputs) value.name = this.uniqueName(value.name);
    this.#nodes.push(node);
    return node.outputs;
  }

  /** Adds a node of an operator that is not defined here, with results of the types told. */
  adopt(parts: NodeParts, names: readonly string[], types: readonly TensorType[]): Value[] {
    const node: Node = { ...parts, outputs: [] };
    node.outputs = names.map((name, index): Value => {
      const unique = this.uniqueName(name || `${parts.name}:${index}`);
      return { name: unique, ...types[index]!, origin: { kind: 'node', node, index } };
    });
    this.#nodes.push(node);
    return node.outputs;
  }

  /** Computes a node's results where its operands are constants. Whether it did. */
  fold(node: Node): boolean {
    const definition = lookup(node.domain, node.op);
    if (!definition) return false;
    if (node.outputs.some(({ shape }) => !isSmall(shape))) return false;
    const [operand] = node.inputs;
    if (node.domain === '' && node.op === 'Shape' && operand) {
      know(node, [Float64Array.from(shapeSlice(node, operand.shape))]);
      return true;
    }
    if (node.domain === '' && node.op === 'Size' && operand) {
      know(node, [Float64Array.of(sizeOf(operand.shape))]);
      return true;
    }
    const inputs: (CpuTensor | undefined)[] = [];
    for (const value of node.inputs) {
      if (value && value.origin.kind !== 'constant') return false;
      inputs.push(
        value?.origin.kind === 'constant'
          ? { dtype: value.dtype, shape: value.shape, data: value.origin.data }
          : undefined,
      );
    }
    if (definition.fold) know(node, definition.fold(node, inputs));
    else if (definition.elementwise) {
      const present = inputs.filter((tensor) => tensor !== undefined);
      know(node, [evaluate(definition.elementwise(node), present, node.outputs[0]!.shape)]);
    }
    return definition.fold !== undefined || definition.elementwise !== undefined;
  }

  /** The nodes of a set in the order of the graph. */
  inOrder(nodes: ReadonlySet<Node>): Node[] {
    return this.#nodes.filter((node) => nodes.has(node));
  }

  /** The value as a graph output of that name, which must be a node's result and no other output. */
  output(value: Value, name: string): Value {
    let result = value;
    if (value.origin.kind !== 'node' || this.#outputs.has(value)) {
      const node: Node = {
        op: 'Identity',
        domain: '',
        name,
        opset: newestRules,
        inputs: [value],
        outputs: [],
        attributes: new Map(),
      };
      const { dtype, shape } = value;
      result = { name, dtype, shape, origin: { kind: 'node', node, index: 0 } };
      node.outputs.push(result);
      this.#nodes.push(node);
    }
    this.#outputs.add(result);
    result.name = name;
    return result;
  }

  /** All nodes that are not constants by now. */
  finish(): Node[] {
    return this.#nodes.filter((node) => node.outputs.some(({ origin }) => origin.kind === 'node'));
  }

  #expand(node: Node, definition: OpDefinition, types: readonly TensorType[]): Value[] {
    const before = this.#nodes.length;
    try {
      const results = definition.expand!(node, this.#build(node));
      return node.outputs.map((wanted, index) => {
        const result = results[index];
        const type = types[index]!;
        if (!result) throw new Error(`Internal error: ${describe(node)} expands into too few results`);
        if (result.dtype !== type.dtype || !equalShapes(result.shape, type.shape)) {
          throw new ShapeError(describe(node), {
            expected: `operands that give ${type.dtype}${formatShape(type.shape)}`,
            actual: `some that give ${result.dtype}${formatShape(result.shape)}`,
          });
        }
        return result;
      });
    } catch (error) {
      this.#nodes.length = before;
      throw error;
    }
  }

  #build(around: Node): Build {
    return {
      node: (op, inputs, attributes = {}, { domain = '', outputs = 1 } = {}) => {
        const name = `${around.name}/${op}`;
        const parts = {
          op,
          domain,
          name,
          inputs: trimmed(inputs),
          attributes: attributeMap(attributes),
          opset: domain === '' ? newestRules : 1,
        };
        return this.emit(
          parts,
          Array.from({ length: outputs }, (_, i) => (i === 0 ? name : `${name}:${i}`)),
        );
      },
      constant: (data, shape, dtype) =>
        constantValue(this.uniqueName(`${around.name}/constant`), data, shape, dtype),
    };
  }
}

export function constantValue(name: string, data: readonly number[], shape: Shape, dtype: DataType): Value {
  return { name, dtype, shape, origin: { kind: 'constant', data: Float64Array.from(data) } };
}

/** Attributes as an ONNX file has them: whole numbers are integers. */
export function attributeMap(
  attributes: Readonly<Record<string, number | readonly number[] | string>>,
): Map<string, Attribute> {
  return new Map(
    Object.entries(attributes).map(([name, value]): [string, Attribute] => {
      if (typeof value === 'string') return [name, { type: 'string', value }];
      if (typeof value === 'number')
        return [name, { type: Number.isInteger(value) ? 'int' : 'float', value }];
      return [name, { type: value.every(Number.isInteger) ? 'ints' : 'floats', value: [...value] }];
    }),
  );
}

function trimmed(inputs: readonly (Value | undefined)[]): (Value | undefined)[] {
  const end = inputs.findLastIndex((value) => value !== undefined);
  return inputs.slice(0, end + 1);
}

function definitionOf(node: Node): OpDefinition {
  const definition = lookup(node.domain, node.op);
  if (!definition) throw new Error(`Internal error: ${describe(node)} is not defined`);
  return definition;
}

function know(node: Node, results: readonly Float64Array[]): void {
  node.outputs.forEach((value, index) => {
    const data = results[index];
    if (!data || data.length !== sizeOf(value.shape)) {
      throw new Error(
        `Internal error: ${describe(node)} computes ${data?.length} elements for [${value.shape.join(', ')}]`,
      );
    }
    // Rounded as the model's authors computed it: T5's buckets truncate quotients of logarithms that are whole in f32.
    const rounded = isFloat(value.dtype) && value.dtype !== 'float64' ? data.map(Math.fround) : data;
    value.origin = { kind: 'constant', data: rounded };
  });
}

/** What `Shape` gives: from opset 15 on a part of the shape. Both ends are clamped. */
function shapeSlice(node: Node, shape: Shape): Shape {
  const clamp = (axis: number): number =>
    Math.min(Math.max(axis < 0 ? axis + shape.length : axis, 0), shape.length);
  return shape.slice(clamp(intAttribute(node, 'start', 0)), clamp(intAttribute(node, 'end', shape.length)));
}

/** Whether a shape can be reckoned with: what a file asks for may be anything. */
function isShape(shape: Shape): boolean {
  const isSize = (dim: number): boolean => Number.isInteger(dim) && dim >= 0 && dim <= 2 ** 31;
  return shape.every(isSize) && Number.isSafeInteger(sizeOf(shape));
}
