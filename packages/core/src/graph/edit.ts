import type { Build, TensorType } from '../ops/op.ts';
import { describe } from '../ops/operands.ts';
import { lookup } from '../ops/registry.ts';
import type { DataType } from '../tensor/dtype.ts';
import { equalShapes, type Shape } from '../tensor/shape.ts';
import { attributeMap, constantValue, newestRules } from './emit.ts';
import { operandsOf, type Graph, type Node, type Value } from './graph.ts';

/** What a node is without its results. */
export type NodeContent = Pick<Node, 'op' | 'inputs'> & Partial<Omit<Node, 'op' | 'inputs' | 'outputs'>>;

/**
 * A graph that passes change: knows who uses a value, keeps names unique and graph outputs under their names.
 * Nodes may be added in any order; `commit` sorts them.
 */
export class GraphEditor {
  readonly graph: Graph;
  readonly #nodes: Set<Node>;
  /** A node stands in the list once for each operand slot that reads the value. */
  readonly #users = new Map<Value, Node[]>();
  #made = 0;
  /** Since the last `commit`. `added` is anything after which the order may be wrong. */
  #changed: 'nothing' | 'removed' | 'added' = 'nothing';

  constructor(graph: Graph) {
    this.graph = graph;
    this.#nodes = new Set(graph.nodes);
    for (const node of graph.nodes) this.#read(node);
  }

  /** Snapshot of the nodes: those of the last `commit` in order, then later ones. */
  nodes(): Node[] {
    return [...this.#nodes];
  }

  /** Whether the node has not been removed. */
  has(node: Node): boolean {
    return this.#nodes.has(node);
  }

  /** Nodes that read the value, each once. */
  users(value: Value): Node[] {
    return [...new Set(this.#users.get(value))];
  }

  isOutput(value: Value): boolean {
    return this.graph.outputs.includes(value);
  }

  /** The only node that reads the value, in however many slots; `undefined` where others or the caller want it too. */
  soleUser(value: Value): Node | undefined {
    const users = this.#users.get(value) ?? [];
    return users.length > 0 && !this.isOutput(value) && users.every((node) => node === users[0])
      ? users[0]
      : undefined;
  }

  isUsed(value: Value): boolean {
    return (this.#users.get(value)?.length ?? 0) > 0 || this.isOutput(value);
  }

  /** Adds a node whose results are new values of the given types. Names derive from `name`. */
  add(content: NodeContent, types: readonly TensorType[]): Value[] {
    const node = complete(content);
    node.outputs = types.map(({ dtype, shape }, index): Value => {
      const name = `${node.name}~${this.#made++}`;
      return { name, dtype, shape, origin: { kind: 'node', node, index } };
    });
    this.#insert(node);
    return node.outputs;
  }

  /** Adds a node of an operator whose definition infers the types. One result. */
  make(content: NodeContent): Value {
    const node = complete(content);
    const definition = lookup(node.domain, node.op);
    if (!definition) throw new Error(`Internal error: ${describe(node)} is not defined`);
    return this.add(content, [definition.infer(node)[0]!])[0]!;
  }

  /** The same elements under another shape; the value itself where it has that shape. */
  reshape(value: Value, shape: Shape, name: string = value.name): Value {
    if (equalShapes(value.shape, shape)) return value;
    const target = this.constant([...shape], [shape.length], 'int64', `${name}/shape`);
    const content = { op: 'Reshape', name, inputs: [value, target] };
    return this.add(content, [{ dtype: value.dtype, shape: [...shape] }])[0]!;
  }

  transpose(value: Value, perm: readonly number[], name: string = value.name): Value {
    if (perm.every((axis, i) => axis === i)) return value;
    const shape = perm.map((axis) => value.shape[axis]!);
    const content = { op: 'Transpose', name, inputs: [value], attributes: attributeMap({ perm }) };
    return this.add(content, [{ dtype: value.dtype, shape }])[0]!;
  }

  constant(data: readonly number[], shape: Shape, dtype: DataType, name = 'constant'): Value {
    return constantValue(`${name}~${this.#made++}`, data, shape, dtype);
  }

  /**
   * Lets `value` be computed by another node, which has no other result. The node that gave it so far is removed, and
   * all before it that nobody needs any more.
   */
  redefine(value: Value, content: NodeContent): Node {
    const old = this.producer(value);
    const node = complete({ ...(old ? { name: old.name } : {}), ...content });
    node.outputs = [value];
    value.origin = { kind: 'node', node, index: 0 };
    this.#insert(node);
    if (old) this.#prune(old);
    return node;
  }

  /**
   * Lets all users of `value` read `by`. Whether that could be: a graph output can be replaced only by a node's
   * result of the same dtype that is no output itself, and hands its name over.
   */
  replace(value: Value, by: Value): boolean {
    if (value === by) return false;
    const at = this.graph.outputs.indexOf(value);
    if (at >= 0) {
      if (by.origin.kind !== 'node' || this.isOutput(by) || by.dtype !== value.dtype) return false;
      this.graph.outputs[at] = by;
      [by.name, value.name] = [value.name, by.name];
    }
    for (const node of this.users(value)) {
      const swap = (operand: Value): Value => (operand === value ? by : operand);
      this.setInputs(
        node,
        node.inputs.map((operand) => operand && swap(operand)),
        node.epilogue?.inputs.map(swap),
      );
    }
    const producer = this.producer(value);
    if (producer) this.#prune(producer);
    return true;
  }

  /** Gives a node other operands. What is no longer needed by anyone goes. */
  setInputs(
    node: Node,
    inputs: (Value | undefined)[],
    epilogue: Value[] | undefined = node.epilogue?.inputs,
  ): void {
    const before = operandsOf(node);
    this.#changed = 'added';
    this.#forget(node);
    node.inputs = inputs;
    if (node.epilogue) node.epilogue = { ...node.epilogue, inputs: epilogue ?? [] };
    this.#read(node);
    this.#pruneAll(before);
  }

  /** Makes `user`, the only user of the node's first result, part of the node: it gives the user's result then. */
  absorb(node: Node, user: Node, epilogue: NonNullable<Node['epilogue']>): void {
    this.#forget(user);
    this.#nodes.delete(user);
    const result = user.outputs[0]!;
    node.outputs[0] = result;
    result.origin = { kind: 'node', node, index: 0 };
    this.setEpilogue(node, epilogue);
  }

  setEpilogue(node: Node, epilogue: NonNullable<Node['epilogue']>): void {
    const before = operandsOf(node);
    this.#changed = 'added';
    this.#forget(node);
    node.epilogue = epilogue;
    this.#read(node);
    this.#pruneAll(before);
  }

  producer(value: Value): Node | undefined {
    return value.origin.kind === 'node' ? value.origin.node : undefined;
  }

  /** Removes every node whose results nobody uses. */
  dropDead(): void {
    for (const node of this.nodes().reverse()) this.#prune(node);
  }

  /** Sorts what was added into `graph.nodes`, leaving the rest in its order. */
  commit(): Graph {
    if (this.#changed === 'added') this.#sort();
    if (this.#changed !== 'nothing') this.graph.nodes = [...this.#nodes];
    this.#changed = 'nothing';
    return this.graph;
  }

  #sort(): void {
    const done = new Set<Node>();
    const missingOf = (values: readonly (Value | undefined)[]): Node | undefined => {
      for (const value of values) {
        if (value?.origin.kind === 'node' && !done.has(value.origin.node)) return value.origin.node;
      }
      return undefined;
    };
    const next = (node: Node): Node | undefined =>
      missingOf(node.inputs) ?? (node.epilogue && missingOf(node.epilogue.inputs));
    for (const root of this.#nodes) {
      if (done.has(root)) continue;
      const stack = [root];
      for (let node = stack.at(-1); node; node = stack.at(-1)) {
        const missing = next(node);
        if (missing) {
          if (stack.length > this.#nodes.size)
            throw new Error(`Internal error: a cycle through ${describe(node)}`);
          stack.push(missing);
        } else {
          done.add(node);
          stack.pop();
        }
      }
    }
    this.#nodes.clear();
    for (const node of done) this.#nodes.add(node);
  }

  /** For rewrites written against `Build`. */
  build(name: string): Build {
    return {
      node: (op, inputs, attributes = {}, { domain = '', outputs = 1 } = {}) => {
        const content = { op, domain, name, inputs, attributes: attributeMap(attributes) };
        const node = complete(content);
        node.outputs = Array.from({ length: outputs }, () => ({
          name,
          dtype: 'float32',
          shape: [],
          origin: { kind: 'input' },
        }));
        const definition = lookup(domain, op);
        if (!definition) throw new Error(`Internal error: ${describe(node)} is not defined`);
        return this.add(content, definition.infer(node).slice(0, outputs));
      },
      constant: (data, shape, dtype) => this.constant(data, shape, dtype, name),
    };
  }

  #insert(node: Node): void {
    this.#nodes.add(node);
    this.#changed = 'added';
    this.#read(node);
  }

  #prune(root: Node): void {
    const stack = [root];
    for (let node = stack.pop(); node; node = stack.pop()) {
      const used = node.outputs.some((value) => this.producer(value) === node && this.isUsed(value));
      if (used || !this.#nodes.delete(node)) continue;
      if (this.#changed === 'nothing') this.#changed = 'removed';
      this.#forget(node);
      for (const value of operandsOf(node)) {
        const producer = this.producer(value);
        if (producer) stack.push(producer);
      }
    }
  }

  #pruneAll(values: readonly Value[]): void {
    for (const value of values) {
      const producer = this.isUsed(value) ? undefined : this.producer(value);
      if (producer) this.#prune(producer);
    }
  }

  #read(node: Node): void {
    for (const value of operandsOf(node)) {
      const users = this.#users.get(value);
      if (users) users.push(node);
      else this.#users.set(value, [node]);
    }
  }

  #forget(node: Node): void {
    for (const value of operandsOf(node)) {
      const users = this.#users.get(value)!;
      users.splice(users.indexOf(node), 1);
    }
  }
}

function complete(content: NodeContent): Node {
  const { domain = '', opset = domain === '' ? newestRules : 1, name = content.op } = content;
  return { attributes: new Map(), ...content, domain, opset, name, outputs: [] };
}
