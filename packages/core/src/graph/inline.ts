import { InvalidModelError } from '../errors.ts';
import type { Attribute, Model, ModelFunction, ModelGraph, ModelNode, TensorRef } from '../onnx/model.ts';
import { lookup } from '../ops/registry.ts';
import type { Block, TemplateNode } from './template.ts';

/** A page can hold no graph this large; functions that call functions could grow to it from a small file. */
const maxNodes = 250_000;
const maxDepth = 64;

const noGraphs: ReadonlyMap<string, ModelGraph> = new Map();
const noBlocks = new Map<string, Block>();

/** What names and attributes mean where a node stands. */
interface Scope {
  /** Operator sets by domain. */
  opsets: ReadonlyMap<string, number>;
  /** Name in the flat graph of a name in this scope. */
  rename(name: string): string;
  /** Attributes of the call, in the body of a function. */
  attributes: ReadonlyMap<string, Attribute>;
  /** Functions being inlined, outermost first. */
  calls: readonly ModelFunction[];
  /** Put before the names of nodes. */
  prefix: string;
  depth: number;
}

/** Flattens calls of model-local functions and turns `Constant` nodes into weights. */
export class Inliner {
  readonly #model: Model;
  readonly #file: string;
  readonly #functions: Map<string, ModelFunction>;
  #nodes = 0;
  #calls = 0;

  constructor(model: Model, file: string) {
    this.#model = model;
    this.#file = file;
    this.#functions = new Map(model.functions.map((f) => [key(f.domain, f.name, f.overload), f]));
  }

  /** The model's graph as a block. Not sorted yet. */
  block(graph: ModelGraph): Block {
    const { opsets } = this.#model;
    const attributes = new Map<string, Attribute>();
    return this.#block(graph, {
      opsets,
      rename: (name) => name,
      attributes,
      calls: [],
      prefix: '',
      depth: 0,
    });
  }

  #block(graph: ModelGraph, scope: Scope): Block {
    if (scope.depth > maxDepth) this.#fail(`graphs are nested deeper than ${maxDepth}`);
    const weights = new Map<string, TensorRef>();
    for (const [name, ref] of graph.initializers) weights.set(scope.rename(name), ref);
    const block: Block = {
      params: graph.inputs.flatMap(({ name }) => (graph.initializers.has(name) ? [] : [scope.rename(name)])),
      nodes: [],
      weights,
      results: graph.outputs.map(({ name }) => scope.rename(name)),
    };
    this.#flatten(graph.nodes, scope, block);
    return block;
  }

  #flatten(nodes: readonly ModelNode[], scope: Scope, into: Block): void {
    for (const node of nodes) {
      const called = this.#functions.get(key(node.domain, node.op, node.overload));
      // An operator that has kernels is not run through the body that some exporters write along.
      if (called && !lookup(node.domain, node.op)) this.#inline(node, called, scope, into);
      else this.#add(node, scope, into);
    }
  }

  #add(node: ModelNode, scope: Scope, into: Block): void {
    this.#count();
    const { attributes, graphs } = this.#attributes(node, scope);
    const outputs = node.outputs.map((name) => (name === '' ? '' : scope.rename(name)));
    const name = scope.prefix + (node.name === '' ? node.op : node.name);
    const [output] = outputs;
    if (node.domain === '' && node.op === 'Constant' && output !== undefined) {
      const ref = constantTensor(output, attributes);
      if (ref) {
        if (into.weights.has(output)) this.#fail(`two constants are named '${output}'`);
        into.weights.set(output, ref);
        return;
      }
    }
    const blocks = graphs.size === 0 ? noBlocks : new Map<string, Block>();
    for (const [attribute, graph] of graphs) {
      blocks.set(attribute, this.#block(graph, { ...scope, prefix: `${name}/`, depth: scope.depth + 1 }));
    }
    const opset =
      scope.opsets.get(node.domain) ?? this.#model.opsets.get(node.domain) ?? this.#defaultOpset(node);
    const inputs = node.inputs.map((input) => (input === '' ? '' : scope.rename(input)));
    const { op, domain, module } = node;
    const added = { op, domain, name, opset, inputs, outputs, attributes, blocks };
    into.nodes.push(module === undefined ? added : { ...added, module });
  }

  #count(): void {
    if (++this.#nodes > maxNodes) this.#fail(`more than ${maxNodes} nodes after inlining functions`);
  }

  /** Contrib domains have one version, and files forget to import them. */
  #defaultOpset(node: ModelNode): number {
    if (node.domain !== '') return 1;
    return this.#fail(
      `node '${node.name}' is ONNX's own '${node.op}', but no operator set of ONNX is imported`,
    );
  }

  #inline(node: ModelNode, called: ModelFunction, scope: Scope, into: Block): void {
    this.#count();
    if (scope.calls.includes(called)) this.#fail(`function '${called.name}' calls itself`);
    if (node.inputs.length > called.inputs.length || node.outputs.length > called.outputs.length) {
      this.#fail(`node '${node.name}' passes more than function '${called.name}' takes or gives`);
    }
    const prefix = `${scope.prefix}${node.name === '' ? node.op : node.name}#${this.#calls++}/`;
    const names = new Map<string, string>();
    called.inputs.forEach((formal, i) => {
      const actual = node.inputs[i] ?? '';
      names.set(formal, actual === '' ? '' : scope.rename(actual));
    });
    const passed: [from: string, to: string][] = [];
    called.outputs.forEach((formal, i) => {
      const actual = node.outputs[i] ?? '';
      if (actual === '') return;
      const known = names.get(formal);
      if (known === undefined) names.set(formal, scope.rename(actual));
      else passed.push([known, scope.rename(actual)]);
    });
    const attributes = new Map(called.attributeDefaults);
    for (const [name, attribute] of node.attributes) {
      const resolved = resolve(attribute, scope.attributes);
      if (resolved) attributes.set(name, resolved);
    }
    const opsets = called.opsets;
    this.#flatten(
      called.nodes,
      {
        opsets,
        attributes,
        prefix,
        depth: scope.depth + 1,
        calls: [...scope.calls, called],
        rename: (name) => names.get(name) ?? prefix + name,
      },
      into,
    );
    // A function that returns its argument, or one result twice.
    for (const [from, to] of passed) {
      const opset = opsets.get('') ?? this.#model.opsets.get('') ?? 13;
      const identity = {
        op: 'Identity',
        domain: '',
        name: `${prefix}Identity`,
        opset,
        inputs: [from],
        outputs: [to],
      };
      into.nodes.push({ ...identity, attributes: new Map(), blocks: new Map() } satisfies TemplateNode);
    }
  }

  #attributes(
    node: ModelNode,
    scope: Scope,
  ): { attributes: Map<string, Attribute>; graphs: ReadonlyMap<string, ModelGraph> } {
    const attributes = new Map<string, Attribute>();
    const graphs = new Map<string, ModelGraph>();
    // Most nodes; ten thousand maps less.
    if (![...node.attributes.values()].some(({ type }) => type === 'reference' || type === 'graph')) {
      return { attributes: node.attributes, graphs: noGraphs };
    }
    for (const [name, attribute] of node.attributes) {
      const resolved = resolve(attribute, scope.attributes);
      if (resolved?.type === 'graph') graphs.set(name, resolved.value);
      else if (resolved) attributes.set(name, resolved);
    }
    return { attributes, graphs };
  }

  #fail(message: string): never {
    throw new InvalidModelError(message, { file: this.#file });
  }
}

function key(domain: string, name: string, overload: string): string {
  return JSON.stringify([domain, name, overload]);
}

/** A reference without a value means that the attribute is absent. */
function resolve(attribute: Attribute, caller: ReadonlyMap<string, Attribute>): Attribute | undefined {
  return attribute.type === 'reference' ? caller.get(attribute.name) : attribute;
}

/** What a `Constant` node holds; `undefined` for kinds that nothing here reads. */
function constantTensor(name: string, attributes: ReadonlyMap<string, Attribute>): TensorRef | undefined {
  const [entry, ...others] = attributes;
  if (!entry || others.length > 0) return undefined;
  const inline = (dtype: 'float32' | 'int64', dims: number[], values: readonly number[]): TensorRef => {
    const data = dtype === 'float32' ? Float32Array.from(values) : BigInt64Array.from(values, BigInt);
    return { name, dtype, dims, data: { kind: 'inline', bytes: new Uint8Array(data.buffer) } };
  };
  const [, attribute] = entry;
  switch (attribute.type) {
    case 'tensor':
      return attribute.value;
    case 'float':
      return inline('float32', [], [attribute.value]);
    case 'floats':
      return inline('float32', [attribute.value.length], attribute.value);
    case 'int':
      return inline('int64', [], [attribute.value]);
    case 'ints':
      return inline('int64', [attribute.value.length], attribute.value);
    default:
      return undefined;
  }
}
