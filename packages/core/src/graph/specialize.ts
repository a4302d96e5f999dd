import { ShapeError, UnsupportedOpError } from '../errors.ts';
import type { TensorRef } from '../onnx/model.ts';
import { readTensor } from '../onnx/reader.ts';
import type { CpuTensor, TensorType } from '../ops/op.ts';
import { NeedsOperandValue } from '../ops/operands.ts';
import { equalShapes, formatShape, sizeOf } from '../tensor/shape.ts';
import { bindInputs } from './bind.ts';
import { mayBeForeign, unsupportedReason } from './build.ts';
import { Emitter, type NodeParts } from './emit.ts';
import { force } from './force.ts';
import type { Graph, Node, Value } from './graph.ts';
import { isSmall, knowWeight, maskWeights, weightValue } from './values.ts';
import type { Block, GraphTemplate, TemplateNode } from './template.ts';
import { type Unroll, unrollLoop, unrollScan } from './unroll.ts';

/** Loops in small files can say any number of steps, and loops in loops multiply them. */
const maxUnrolledNodes = 100_000;

export interface SpecializeOptions {
  /** Fetches the raw bytes of a small weight that a shape depends on. */
  read?: (ref: TensorRef, signal?: AbortSignal) => Promise<Uint8Array>;
  signal?: AbortSignal;
  /**
   * Tells the types of an operator that is not defined here; it stays in the graph, for the fallback to run. Without
   * it such operators are refused.
   */
  foreign?: (node: NodeParts, outputs: readonly string[]) => Promise<TensorType[]>;
}

/** Names of a block and of the blocks around it. */
class Scope {
  readonly #values = new Map<string, Value>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  get(name: string): Value {
    const value = this.#values.get(name) ?? this.#outer?.get(name);
    if (!value) throw new Error(`Internal error: '${name}' is not in scope`);
    return value;
  }

  set(name: string, value: Value): void {
    this.#values.set(name, value);
  }
}

/**
 * Binds a model to concrete input shapes: infers every type, computes shape arithmetic on the CPU, takes the branches
 * of `If` that hold, writes out the steps of `Loop` and `Scan`, and expands composite operators. No fusion yet; see `passes/`.
 *
 * @param types of all graph inputs
 * @param values of graph inputs that shapes depend on; they become constants of this graph
 * @throws ShapeError where inputs are not as declared or operands do not fit
 * @throws NeedsInputValue where a shape depends on an input that is not in `values`
 * @throws UnsupportedOpError for operators that are not defined, and for shapes that depend on data
 */
export async function specialize(
  template: GraphTemplate,
  types: ReadonlyMap<string, TensorType>,
  values: ReadonlyMap<string, CpuTensor> = new Map(),
  options: SpecializeOptions = {},
): Promise<Graph> {
  const { read = readTensor, signal, foreign } = options;
  if (template.unsupported.length > 0 && !foreign) throw new UnsupportedOpError(template.unsupported);
  bindInputs(template, types);
  const emitter = new Emitter();
  let unrolledNodes = 0;
  const scope = new Scope();
  const inputs = template.inputs.map(({ name }): Value => {
    const { dtype, shape } = types.get(name)!;
    const value: Value = {
      name: emitter.uniqueName(name),
      dtype,
      shape: [...shape],
      origin: { kind: 'input' },
    };
    const known = values.get(name);
    if (known) checkValue(name, value, known);
    const used: Value = known ? { ...value, origin: { kind: 'constant', data: known.data } } : value;
    scope.set(name, used);
    return value;
  });
  await specializeBlock(template, scope);
  const outputs = template.outputs.map(({ name }, i) =>
    emitter.output(scope.get(template.results[i]!), name),
  );
  const nodes = emitter.finish();
  // Patterns want to see whether a mask is causal.
  for (const [value, ref] of maskWeights(nodes)) knowWeight(value, ref, await read(ref, signal));
  return { inputs, outputs, nodes };

  async function specializeBlock(block: Block, names: Scope): Promise<void> {
    for (const [name, ref] of block.weights) names.set(name, weightValue(emitter.uniqueName(name), ref));
    for (const node of block.nodes) {
      const pending = step(node, names);
      if (pending) await pending;
    }
  }

  /** Works at once where it can: awaiting for each of ten thousand nodes would cost more than the work. */
  function step(node: TemplateNode, names: Scope): Promise<void> | undefined {
    if (node.domain === '' && node.op === 'If') return specializeIf(node, names);
    if (node.domain === '' && node.op === 'Loop') return specializeLoop(node, names, unrollLoop);
    if (node.domain === '' && node.op === 'Scan') return specializeLoop(node, names, unrollScan);
    const reason = unsupportedReason(node);
    if (reason !== undefined && !(foreign && mayBeForeign(node))) throw unsupported(node, reason);
    const inputs = node.inputs.map((name) => (name === '' ? undefined : names.get(name)));
    while (inputs.length > 0 && inputs.at(-1) === undefined) inputs.pop();
    const { op, domain, name, opset, attributes } = node;
    const parts = { op, domain, name, opset, inputs, attributes };
    const bind = (results: readonly Value[]): void => {
      node.outputs.forEach((output, i) => {
        if (output !== '') names.set(output, results[i]!);
      });
    };
    if (reason !== undefined) {
      return foreign!(parts, node.outputs).then((known) => bind(emitter.adopt(parts, node.outputs, known)));
    }
    const attempt = (): void => bind(emitter.emit(parts, node.outputs));
    try {
      attempt();
      return undefined;
    } catch (error) {
      if (!(error instanceof NeedsOperandValue)) throw error;
      return retry(error, attempt);
    }
  }

  async function retry(first: NeedsOperandValue, attempt: () => void): Promise<void> {
    let missing = first;
    for (;;) {
      await forceOperand(missing.value, missing.node, `its operand ${missing.index}`);
      try {
        attempt();
        return;
      } catch (error) {
        if (!(error instanceof NeedsOperandValue)) throw error;
        if (error.value === missing.value) throw new Error(error.message, { cause: error });
        missing = error;
      }
    }
  }

  function forceOperand(
    value: Value,
    node: Pick<Node, 'op' | 'domain' | 'opset' | 'name'>,
    what: string,
  ): Promise<void> {
    return force(value, emitter, {
      read: (ref) => read(ref, signal),
      refuse: (reason) => unsupported(node, `${what} ${reason}`),
    });
  }

  async function specializeIf(node: TemplateNode, names: Scope): Promise<void> {
    if (!node.inputs[0]) throw unsupported(node, 'its condition is missing');
    const condition = names.get(node.inputs[0]);
    if (condition.origin.kind !== 'constant') await forceOperand(condition, node, 'its condition');
    if (condition.origin.kind !== 'constant') throw new Error('Internal error: condition not folded');
    const block = node.blocks.get(condition.origin.data[0] ? 'then_branch' : 'else_branch');
    if (!block || block.results.length < node.outputs.length)
      throw unsupported(node, 'a branch is missing or too short');
    const results = await runBlock(block, names, []);
    node.outputs.forEach((output, i) => {
      if (output !== '') names.set(output, results[i]!);
    });
  }

  /** Results of a block that is given `args` for its params. */
  async function runBlock(block: Block, names: Scope, args: readonly Value[]): Promise<Value[]> {
    const inner = new Scope(names);
    block.params.slice(0, args.length).forEach((name, i) => inner.set(name, args[i]!));
    await specializeBlock(block, inner);
    return block.results.map((name) => inner.get(name));
  }

  async function specializeLoop(
    node: TemplateNode,
    names: Scope,
    unroll: (context: Unroll) => Promise<Value[]>,
  ): Promise<void> {
    const refuse = (reason: string): UnsupportedOpError => unsupported(node, reason);
    const know = async (value: Value, what: string): Promise<Float64Array> => {
      if (value.origin.kind !== 'constant') await forceOperand(value, node, what);
      if (value.origin.kind !== 'constant') throw new Error(`Internal error: ${what} is not folded`);
      return value.origin.data;
    };
    const inputs = node.inputs.map((name) => (name === '' ? undefined : names.get(name)));
    const results = await unroll({
      node,
      inputs,
      emitter,
      know,
      refuse,
      run: (body, args) => {
        if (body.params.length !== args.length) {
          throw refuse(`its body takes ${body.params.length} values and is given ${args.length}`);
        }
        unrolledNodes += body.nodes.length + 1;
        if (unrolledNodes > maxUnrolledNodes)
          throw refuse(`it is more than ${maxUnrolledNodes} nodes written out`);
        return runBlock(body, names, args);
      },
    });
    if (results.length < node.outputs.length) throw refuse(`it gives ${results.length} results`);
    node.outputs.forEach((output, i) => {
      if (output !== '') names.set(output, results[i]!);
    });
  }
}

function checkValue(name: string, declared: TensorType, value: CpuTensor): void {
  const fits = value.dtype === declared.dtype && equalShapes(value.shape, declared.shape);
  if (fits && isSmall(value.shape) && value.data.length === sizeOf(value.shape)) return;
  throw new ShapeError(`value of input '${name}'`, {
    expected: `a small ${declared.dtype}${formatShape(declared.shape)}`,
    actual: `${value.dtype}${formatShape(value.shape)}`,
  });
}

function unsupported(
  node: Pick<Node, 'op' | 'domain' | 'opset' | 'name'>,
  reason: string,
): UnsupportedOpError {
  const { op, domain, opset, name } = node;
  return new UnsupportedOpError([{ op, domain, opset, node: name, reason }]);
}
