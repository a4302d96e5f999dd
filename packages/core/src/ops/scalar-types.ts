import { call, input, type Expr, type ScalarType } from '../graph/expr.ts';
import type { Node } from '../graph/graph.ts';
import { isFloat, type DataType } from '../tensor/dtype.ts';
import { operand } from './operands.ts';

/** The type in which expressions compute elements of `dtype`. 64-bit integers are computed in 32 bits. */
export function scalarTypeOf(dtype: DataType): ScalarType {
  if (isFloat(dtype)) return 'f32';
  if (dtype === 'bool') return 'bool';
  return dtype.startsWith('u') ? 'u32' : 'i32';
}

/**
 * Operand `index` of a node as an expression, in the type of its dtype. Expressions count present operands only: the
 * one after an absent operand takes its number.
 */
export function operandExpr(node: Node, index: number): Expr {
  const { dtype } = operand(node, index);
  const position = node.inputs.slice(0, index).filter((value) => value !== undefined).length;
  return input(position, scalarTypeOf(dtype));
}

/** Brings an expression to another type: floats are truncated towards zero, anything but zero is true. */
export function convertTo(expr: Expr, type: ScalarType): Expr {
  if (expr.type === type) return expr;
  switch (type) {
    case 'f32':
      return call('toF32', [expr], 'f32');
    case 'i32':
      return call('toI32', [expr], 'i32');
    case 'u32':
      return call('toU32', [expr], 'u32');
    case 'bool':
      return call('toBool', [expr], 'bool');
  }
}

const wraps: Partial<Record<DataType, string>> = {
  int8: 'wrapI8',
  int16: 'wrapI16',
  int4: 'wrapI4',
  uint8: 'wrapU8',
  uint16: 'wrapU16',
  uint4: 'wrapU4',
};

/** Keeps the low bits of a 32-bit integer that `dtype` has, as overflow in a narrow type does. */
export function wrapTo(expr: Expr, dtype: DataType): Expr {
  const fn = wraps[dtype];
  return fn === undefined ? expr : call(fn, [expr], expr.type);
}

/** An expression of any type as an element of `dtype`, by the rules of ONNX Cast without saturation. */
export function castTo(expr: Expr, dtype: DataType): Expr {
  const type = scalarTypeOf(dtype);
  // Negative floats go to narrow unsigned types through i32, as C compilers and numpy do it on common machines.
  if (type === 'u32' && expr.type === 'f32' && dtype !== 'uint32' && dtype !== 'uint64') {
    return wrapTo(convertTo(convertTo(expr, 'i32'), 'u32'), dtype);
  }
  return wrapTo(convertTo(expr, type), dtype);
}
