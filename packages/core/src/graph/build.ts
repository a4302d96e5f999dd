import { InvalidModelError, type UnsupportedOp } from '../errors.ts';
import type { Model, ModelValue } from '../onnx/model.ts';
import { loadOperators, lookup } from '../ops/registry.ts';
import { Inliner } from './inline.ts';
import { sortBlock } from './sort.ts';
import type { Block, GraphTemplate, SymbolicType, TemplateNode } from './template.ts';

/** Broadcasting changed in opset 7; models older than that mean other things by the same names. */
const oldestOpset = 7;
/** Operators that are the same from the first operator set on. */
const everOps = new Set(['Gather', 'Identity', 'Not', 'Shape', 'Size', 'Transpose']);
/** Newest operator set of ONNX whose changes to the operators defined here are known. */
const newestOpset = 28;

/**
 * Makes a model ready for specialization: loads its operators, inlines model-local functions, sorts, checks names and operator sets.
 *
 * @throws InvalidModelError for cycles, names that are undefined or defined twice, and recursive functions
 */
export async function buildTemplate(model: Model, file: string): Promise<GraphTemplate> {
  await loadOperators(model);
  const { graph } = model;
  const inputs = graph.inputs.filter(({ name }) => !graph.initializers.has(name));
  const block = new Inliner(model, file).block(graph);
  const names = new Set(inputs.map(({ name }) => name));
  sortBlock(block, (name) => names.has(name), file);
  const unsupported: UnsupportedOp[] = [];
  listUnsupported(block, unsupported);
  return {
    ...block,
    file,
    inputs: inputs.map((value) => symbolicType(value, 'input', file)),
    outputs: graph.outputs.map((value) => symbolicType(value, 'output', file)),
    unsupported,
  };
}

function symbolicType(value: ModelValue, what: string, file: string): SymbolicType {
  if (value.dtype === undefined) {
    throw new InvalidModelError(`the type of ${what} '${value.name}' is no tensor or not declared`, { file });
  }
  return { name: value.name, dtype: value.dtype, shape: value.shape };
}

/** Branches and bodies are not looked into: which of them run is known only after specialization. */
function listUnsupported(block: Block, list: UnsupportedOp[]): void {
  for (const node of block.nodes) {
    const reason = unsupportedReason(node);
    if (reason === undefined) continue;
    list.push({ op: node.op, domain: node.domain, opset: node.opset, node: node.name, reason });
  }
}

/** Why a node cannot be specialized at all; `undefined` when it may be. */
export function unsupportedReason(node: TemplateNode): string | undefined {
  const { op, domain, opset } = node;
  const isOld = opset < oldestOpset && !everOps.has(op);
  if (domain === '' && (isOld || opset > newestOpset)) {
    return `operator set ${opset} is ${opset < oldestOpset ? `older than ${oldestOpset}` : `newer than ${newestOpset}`}`;
  }
  for (const [name, attribute] of node.attributes) {
    if (attribute.type === 'unsupported') return `its attribute '${name}' is a ${attribute.kind}`;
  }
  if (domain === '' && (op === 'If' || op === 'Loop' || op === 'Scan')) return undefined;
  if (node.blocks.size > 0) return 'it holds a graph, which only If, Loop and Scan may';
  return lookup(domain, op) ? undefined : 'it is not defined';
}

/** Whether an unsupported node is one that only lacks a definition: another runtime can be asked about it. */
export function mayBeForeign({ op, domain, blocks, attributes }: TemplateNode): boolean {
  const readable = [...attributes.values()].every(({ type }) => type !== 'unsupported');
  return readable && blocks.size === 0 && !lookup(domain, op);
}
