import type { UnsupportedOp } from '../errors.ts';
import type { Attribute, TensorRef } from '../onnx/model.ts';
import type { DataType } from '../tensor/dtype.ts';

/**
 * A model made ready for specialization: functions inlined, nodes in topological order, names unique, shapes still
 * symbolic. Made once a session. Plain data.
 */
export interface GraphTemplate extends Block {
  /** Model file, for errors. */
  file: string;
  inputs: SymbolicType[];
  outputs: SymbolicType[];
  /** Every operator that the registry does not define. Specialization would throw them. */
  unsupported: UnsupportedOp[];
}

/** Nodes with the constants they use: the model's graph, a branch, a loop's body. Outer names are visible inside. */
export interface Block {
  /** Names that a step of a loop gives values to. */
  params: string[];
  nodes: TemplateNode[];
  weights: Map<string, TensorRef>;
  /** Names of what it gives; they may be outer names or weights. */
  results: string[];
}

export interface TemplateNode {
  op: string;
  domain: string;
  name: string;
  /** Version of `domain`'s operator set in force for it. */
  opset: number;
  /** `''` where an optional input is absent. */
  inputs: string[];
  outputs: string[];
  /** Resolved: no references; graphs are in `blocks`. */
  attributes: Map<string, Attribute>;
  /** Graph attributes: branches of `If`, bodies of loops. */
  blocks: Map<string, Block>;
  /** See `ModelNode.module`. */
  module?: string;
}

/** Type of a graph input or output as the file declares it. */
export interface SymbolicType {
  name: string;
  dtype: DataType;
  /** Symbolic dimensions by name, `undefined` for one of which nothing is known; `undefined` for an unknown rank. */
  shape: (number | string | undefined)[] | undefined;
}

/** `float16[batch, 4, ?, ?]` */
export function printSymbolicType({ dtype, shape }: SymbolicType): string {
  return `${dtype}[${shape ? shape.map((dim) => dim ?? '?').join(', ') : '…'}]`;
}
