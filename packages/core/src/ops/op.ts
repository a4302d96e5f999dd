import type { Expr } from '../graph/expr.ts';
import type { Node, Value } from '../graph/graph.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { DataType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';

/** What is known of a tensor before it is computed. */
export interface TensorType {
  dtype: DataType;
  shape: Shape;
}

/** A tensor on the CPU, row-major; all number types as doubles. */
export interface CpuTensor extends TensorType {
  data: Float64Array;
}

/**
 * Everything the engine knows of one operator. Exactly one of `elementwise`, `expand` and `lower` says how it runs on
 * the GPU; an operator with none of them only folds on the CPU (shape arithmetic) or goes to the fallback.
 *
 * A definition serves all versions from opset 11 (older where the fixtures need it) to 23: `node.opset` tells which
 * rules hold. Attributes and operands are checked here; violations throw `ShapeError` with the node's name.
 */
export interface OpDefinition {
  /**
   * Types of the outputs. Operands that shapes depend on (the shape of `Reshape`, the axes of `Squeeze`) are constants
   * by then; read them with `constantOperand`, which asks the specializer for the value when it is not.
   */
  infer(node: Node): TensorType[];
  /** Computes on the CPU. Called when every input is a constant and the outputs are small. */
  fold?(node: Node, inputs: (CpuTensor | undefined)[]): Float64Array[];
  /** The operator as an expression over its inputs, which broadcast. Folds on the CPU through the same expression. */
  elementwise?(node: Node): Expr;
  /** Rewrites into other operators, before any pass. */
  expand?(node: Node, build: Build): Value[];
  /** Emits dispatches, or only makes views. `canLower` says beforehand that it can; its string says why not. */
  lower?(node: Node, lowering: Lowering): void;
  /**
   * Whether `lower` applies the node's epilogue to output 0 (see `Lowering.epilogue`). Passes give epilogues to such
   * operators only.
   */
  acceptsEpilogue?: boolean;
  /** Reason why `lower` (or `elementwise`) cannot run this node, for the fallback's report. Absent: it always can. */
  refuse?(node: Node): string | undefined;
}

export type OpTable = Readonly<Record<string, OpDefinition>>;

/** By domain. */
export type OpTables = Readonly<Record<string, readonly OpTable[]>>;

/** Creates nodes in a rewrite; types are inferred at once. */
export interface Build {
  /** @param name ONNX operator name (domain `''`, newest semantics the engine has) or one of ours with its domain */
  node(
    op: string,
    inputs: (Value | undefined)[],
    attributes?: Record<string, number | readonly number[] | string>,
    options?: { domain?: string; outputs?: number },
  ): Value[];
  constant(data: readonly number[], shape: Shape, dtype: DataType): Value;
}
