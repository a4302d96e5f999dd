import type { Attribute, Model, ModelGraph, ModelNode, TensorRef } from '@calotype/core/tools';

/** Blocks of 4-bit integers came with this version of ONNX's own operators. */
const TARGET = 21;

/** Older versions differ from 13 in more than this knows. */
const OLDEST = 13;

const reductions = new Set([
  'ReduceL1', 'ReduceL2', 'ReduceLogSum', 'ReduceLogSumExp', 'ReduceMax', 'ReduceMean', 'ReduceMin', 'ReduceProd',
  'ReduceSumSquare',
]); // prettier-ignore

/** Operators whose meaning changed between the two versions in a way that is not rewritten here. */
const changed: Readonly<Record<string, number>> = { DFT: 20, GroupNormalization: 21, Upsample: 10 };

const gridModes: Readonly<Record<string, string>> = { bilinear: 'linear', bicubic: 'cubic' };

/**
 * Raises a model to operator set 21, in place: attributes that became operands since, names that changed.
 *
 * @throws Error for a model older than 13, or with an operator that cannot be raised
 */
export function raiseOpset(model: Model): void {
  const version = model.opsets.get('') ?? 1;
  if (version >= TARGET) return;
  if (version < OLDEST) {
    throw new Error(`The model is written in operator set ${version}; export it in ${OLDEST} or newer.`);
  }
  if (model.functions.length > 0) throw new Error('The model has functions of its own; export it without.');
  raiseGraph(model.graph, version);
  model.opsets.set('', TARGET);
  model.irVersion = Math.max(model.irVersion, 10);
}

function raiseGraph(graph: ModelGraph, version: number): void {
  for (const node of graph.nodes) {
    if (node.domain === '') raiseNode(graph, node, version);
    for (const attribute of node.attributes.values()) {
      if (attribute.type === 'graph') raiseGraph(attribute.value, version);
    }
  }
}

function raiseNode(graph: ModelGraph, node: ModelNode, version: number): void {
  if ((changed[node.op] ?? 0) > version) {
    throw new Error(`'${node.name}' (${node.op}) means something else since operator set ${version}.`);
  }
  const { attributes } = node;
  const axes = attributes.get('axes');
  if (version < 18 && reductions.has(node.op) && axes?.type === 'ints') {
    attributes.delete('axes');
    const name = `${node.outputs[0]!}/axes`;
    graph.initializers.set(name, int64(name, axes.value));
    node.inputs = [node.inputs[0]!, name];
  }
  if (version < 18 && node.op === 'Split' && !node.inputs[1]) {
    attributes.set('num_outputs', { type: 'int', value: node.outputs.length });
  }
  const mode = attributes.get('mode');
  if (version < 20 && node.op === 'GridSample' && mode?.type === 'string') {
    attributes.set('mode', {
      type: 'string',
      value: gridModes[mode.value] ?? mode.value,
    } satisfies Attribute);
  }
}

function int64(name: string, values: readonly number[]): TensorRef {
  const bytes = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  return { name, dtype: 'int64', dims: [values.length], data: { kind: 'inline', bytes } };
}
