import type { DataType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';
import type { TensorRef, Attribute } from '../onnx/model.ts';
import type { Expr } from './expr.ts';

/**
 * The IR: a static single-assignment graph in which every shape is concrete.
 *
 * A model's symbolic dimensions are bound when a session first meets a set of input shapes (`specialize.ts`), so the
 * passes and the planner see numbers only, and shape arithmetic is gone before they run.
 */
export interface Graph {
  inputs: Value[];
  outputs: Value[];
  /** In topological order. */
  nodes: Node[];
}

/** One tensor: what a node, the caller or the model file provides. Identity is the object itself. */
export interface Value {
  /** Unique in its graph; for reports and tests. */
  name: string;
  dtype: DataType;
  shape: Shape;
  /** Where it comes from. */
  origin: Origin;
}

export type Origin =
  | { kind: 'input' }
  /** Known on the CPU, row-major. Every number type is held as doubles (integers exactly up to 2^53). */
  | { kind: 'constant'; data: Float64Array }
  /** In a file; never in memory whole. */
  | { kind: 'weight'; ref: TensorRef }
  | { kind: 'node'; node: Node; index: number };

/** One operator. ONNX operators keep their ONNX name and domain; ours (fused ones) have the domain `calotype`. */
export interface Node {
  op: string;
  domain: string;
  /** Name in the model; fused nodes keep the name of the node they started from. */
  name: string;
  /** Version of `domain`'s operator set in force. 1 for ours. */
  opset: number;
  /** `undefined` where an optional input is absent. */
  inputs: (Value | undefined)[];
  outputs: Value[];
  attributes: Map<string, Attribute>;
  /** What our own `Elementwise` computes from its inputs. */
  expr?: Expr;
  /**
   * Elementwise work done on output 0 before it is stored. `inputs[0]` of the expression is the operator's own result;
   * the others are `epilogue.inputs`, each of which broadcasts to the output's shape.
   */
  epilogue?: Epilogue;
}

export interface Epilogue {
  expr: Expr;
  /** Operands of the expression from index 1 on. */
  inputs: Value[];
}

/** Domain of the operators that only passes create. */
export const OWN_DOMAIN = 'calotype';

/** All values that a node reads, the epilogue's included; one entry for each slot. */
export function operandsOf(node: Node): readonly Value[] {
  const own = node.inputs.includes(undefined)
    ? node.inputs.filter((value) => value !== undefined)
    : node.inputs;
  return (node.epilogue ? [...own, ...node.epilogue.inputs] : own) as readonly Value[];
}
