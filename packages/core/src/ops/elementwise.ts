import { ShapeError } from '../errors.ts';
import { call, constant, type Expr } from '../graph/expr.ts';
import type { Node } from '../graph/graph.ts';
import { isFloat, type DataType } from '../tensor/dtype.ts';
import { broadcastShapes } from '../tensor/shape.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, floatAttribute, hasOperand, intAttribute, operand, stringAttribute } from './operands.ts';
import { castOps } from './cast.ts';
import { convertTo, operandExpr, wrapTo } from './scalar-types.ts';

/** Shape of an elementwise result: all operands broadcast. */
export function broadcastOperands(node: Node): number[] {
  const shapes = node.inputs.flatMap((value) => (value ? [value.shape] : []));
  return broadcastShapes(shapes, describe(node));
}

/** Throws unless the operands at `indices` (all by default) that are there have one dtype. */
function checkOneType(node: Node, indices = node.inputs.map((_, index) => index)): DataType {
  const present = indices.filter((index) => hasOperand(node, index));
  const dtypes = new Set(present.map((index) => operand(node, index).dtype));
  if (dtypes.size !== 1) {
    throw new ShapeError(describe(node), {
      expected: 'operands of one type',
      actual: dtypes.size === 0 ? 'no operand' : [...dtypes].join(' and '),
    });
  }
  return operand(node, present[0]!).dtype;
}

/** An operator whose operands and result have one dtype. */
function uniform(elementwise: (node: Node) => Expr): OpDefinition {
  return {
    infer: (node) => [{ dtype: checkOneType(node), shape: broadcastOperands(node) }],
    elementwise: (node) => wrapTo(elementwise(node), operand(node, 0).dtype),
  };
}

/** `fn` of the first operand. */
const unary = (fn: string): OpDefinition =>
  uniform((node) => {
    const x = operandExpr(node, 0);
    return call(fn, [x], x.type);
  });

/** `fn` of the first operand and numbers from attributes, with their defaults. */
const parametric = (fn: string, attributes: Readonly<Record<string, number>>): OpDefinition =>
  uniform((node) => {
    const parameters = Object.entries(attributes).map(([name, missing]) =>
      constant(floatAttribute(node, name, missing)),
    );
    return call(fn, [operandExpr(node, 0), ...parameters]);
  });

/** `fn` of two operands, or another one for integers. */
const binary = (fn: string, integer = fn): OpDefinition =>
  uniform((node) => {
    const [a, b] = [operandExpr(node, 0), operandExpr(node, 1)];
    return call(a.type === 'f32' ? fn : integer, [a, b], a.type);
  });

/** `fn` between any number of operands, from left to right. */
const nary = (fn: string): OpDefinition =>
  uniform((node) =>
    node.inputs
      .map((_, index) => operandExpr(node, index))
      .reduce((result, next) => call(fn, [result, next], result.type)),
  );

/** A comparison: operands of one dtype, a bool result. Booleans compare as numbers. */
const comparison = (fn: string): OpDefinition => ({
  infer: (node) => {
    checkOneType(node);
    return [{ dtype: 'bool', shape: broadcastOperands(node) }];
  },
  elementwise: (node) => {
    const [a, b] = [0, 1].map((index) => {
      const x = operandExpr(node, index);
      return x.type === 'bool' ? convertTo(x, 'u32') : x;
    });
    return call(fn, [a!, b!], 'bool');
  },
});

/** A function of bools. */
const logical = (fn: string): OpDefinition => ({
  infer: (node) => {
    const dtype = checkOneType(node);
    if (dtype !== 'bool') throw new ShapeError(describe(node), { expected: 'bool operands', actual: dtype });
    return [{ dtype, shape: broadcastOperands(node) }];
  },
  elementwise: (node) =>
    call(
      fn,
      node.inputs.map((_, index) => operandExpr(node, index)),
      'bool',
    ),
});

/** A function of floats that gives a bool. */
const classifier = (fn: (node: Node) => string | undefined): OpDefinition => ({
  infer: (node) => [{ dtype: 'bool', shape: operand(node, 0).shape }],
  elementwise: (node) => {
    const name = fn(node);
    return name === undefined ? constant(0, 'bool') : call(name, [operandExpr(node, 0)], 'bool');
  },
});

function isInfinity(node: Node): string | undefined {
  const positive = intAttribute(node, 'detect_positive', 1) !== 0;
  const negative = intAttribute(node, 'detect_negative', 1) !== 0;
  if (positive && negative) return 'isInf';
  return positive ? 'isPositiveInf' : negative ? 'isNegativeInf' : undefined;
}

/**
 * The result has the base's dtype; the exponent may have any. Common constant exponents become multiplications and
 * roots, which are exact and need no logarithm.
 */
function power(node: Node): Expr {
  const [base, exponent] = [operandExpr(node, 0), operandExpr(node, 1)];
  const { origin } = operand(node, 1);
  if (base.type === 'f32' && origin.kind === 'constant' && origin.data.length === 1) {
    const known: Readonly<Record<string, string>> = {
      '2': 'square', '3': 'cube', '0.5': 'sqrt', '-0.5': 'rsqrt', '-1': 'reciprocal',
    }; // prettier-ignore
    if (origin.data[0] === 1) return base;
    const fn = known[String(origin.data[0])];
    if (fn !== undefined) return call(fn, [base]);
  }
  if (base.type === 'f32') return call('pow', [base, convertTo(exponent, 'f32')]);
  if (exponent.type !== 'f32') return call('ipow', [base, convertTo(exponent, base.type)], base.type);
  return convertTo(call('nearWhole', [call('pow', [convertTo(base, 'f32'), exponent])]), base.type);
}

/** Bounds are operands since opset 11, attributes before. */
function clip(node: Node): Expr {
  let result = operandExpr(node, 0);
  const { type } = result;
  if (node.opset < 11) {
    const min = floatAttribute(node, 'min');
    const max = floatAttribute(node, 'max');
    if (min !== undefined) result = call('max', [result, constant(min)], type);
    return max === undefined ? result : call('min', [result, constant(max)], type);
  }
  if (hasOperand(node, 1)) result = call('max', [result, operandExpr(node, 1)], type);
  return hasOperand(node, 2) ? call('min', [result, operandExpr(node, 2)], type) : result;
}

function gelu(node: Node): Expr {
  const kind = stringAttribute(node, 'approximate', 'none');
  if (kind !== 'none' && kind !== 'tanh') {
    throw new ShapeError(describe(node), { expected: `approximate to be 'none' or 'tanh'`, actual: kind });
  }
  return call(kind === 'tanh' ? 'geluTanh' : 'gelu', [operandExpr(node, 0)]);
}

/** x·sigmoid(αx). */
export function swish(x: Expr, alpha: number): Expr {
  if (alpha === 1) return call('silu', [x]);
  // Attributes are stored in f32.
  if (Math.abs(alpha - 1.702) < 1e-6) return call('quickGelu', [x]);
  return call('swish', [x, constant(alpha)]);
}

function shift(node: Node): Expr {
  const direction = stringAttribute(node, 'direction');
  if (direction !== 'LEFT' && direction !== 'RIGHT') {
    throw new ShapeError(describe(node), {
      expected: `direction to be 'LEFT' or 'RIGHT'`,
      actual: String(direction),
    });
  }
  const x = operandExpr(node, 0);
  // As an unsigned number a negative amount is more than all bits.
  const amount = call('wrapU32', [convertTo(operandExpr(node, 1), 'u32')], 'u32');
  const shifted = call(direction === 'LEFT' ? 'shiftLeft' : 'shiftRight', [x, amount], x.type);
  return call(x.type === 'u32' ? 'wrapU32' : 'wrapI32', [shifted], x.type);
}

const modulo = uniform((node) => {
  const [a, b] = [operandExpr(node, 0), operandExpr(node, 1)];
  return call(intAttribute(node, 'fmod', 0) !== 0 ? 'rem' : 'mod', [a, b], a.type);
});

const mean = uniform((node) => {
  const terms = node.inputs.map((_, index) => operandExpr(node, index));
  const sum = terms.reduce((result, next) => call('add', [result, next]));
  return terms.length === 1 ? sum : call('mul', [sum, constant(1 / terms.length)]);
});

const where: OpDefinition = {
  infer: (node) => {
    const { dtype } = operand(node, 0);
    if (dtype !== 'bool')
      throw new ShapeError(describe(node), { expected: 'a bool condition', actual: dtype });
    return [{ dtype: checkOneType(node, [1, 2]), shape: broadcastOperands(node) }];
  },
  elementwise: (node) => {
    const x = operandExpr(node, 1);
    return call('select', [operandExpr(node, 0), x, operandExpr(node, 2)], x.type);
  },
};

const pow: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 0).dtype, shape: broadcastOperands(node) }],
  elementwise: (node) => wrapTo(power(node), operand(node, 0).dtype),
};

/** The slope broadcasts to x, never the other way. */
const prelu: OpDefinition = uniform((node) => {
  const [x, slope] = [operandExpr(node, 0), operandExpr(node, 1)];
  return call(x.type === 'f32' ? 'leakyRelu' : 'leakyReluInt', [x, slope], x.type);
});

/** For integers these are the identity. */
const rounding = (fn: string): OpDefinition =>
  uniform((node) =>
    isFloat(operand(node, 0).dtype) ? call(fn, [operandExpr(node, 0)]) : operandExpr(node, 0),
  );

const relu = uniform((node) => {
  const x = operandExpr(node, 0);
  return call('max', [x, constant(0, x.type)], x.type);
});

/** ONNX's own elementwise operators. */
export const elementwiseOps: OpTable = {
  ...castOps,
  Abs: unary('abs'),
  Acos: unary('acos'),
  Acosh: unary('acosh'),
  Add: binary('add'),
  And: logical('and'),
  Asin: unary('asin'),
  Asinh: unary('asinh'),
  Atan: unary('atan'),
  Atanh: unary('atanh'),
  BitShift: uniform(shift),
  BitwiseAnd: binary('bitAnd'),
  BitwiseNot: unary('bitNot'),
  BitwiseOr: binary('bitOr'),
  BitwiseXor: binary('bitXor'),
  Ceil: rounding('ceil'),
  Celu: parametric('celu', { alpha: 1 }),
  Clip: uniform(clip),
  Cos: unary('cos'),
  Cosh: unary('cosh'),
  Div: binary('div', 'idiv'),
  Elu: parametric('elu', { alpha: 1 }),
  Equal: comparison('eq'),
  Erf: unary('erf'),
  Exp: unary('exp'),
  Floor: rounding('floor'),
  Gelu: uniform(gelu),
  Greater: comparison('gt'),
  GreaterOrEqual: comparison('ge'),
  HardSigmoid: parametric('hardSigmoid', { alpha: 0.2, beta: 0.5 }),
  HardSwish: unary('hardSwish'),
  IsInf: classifier(isInfinity),
  IsNaN: classifier(() => 'isNaN'),
  LeakyRelu: parametric('leakyRelu', { alpha: 0.01 }),
  Less: comparison('lt'),
  LessOrEqual: comparison('le'),
  Log: unary('log'),
  Max: nary('max'),
  Mean: mean,
  Min: nary('min'),
  Mish: unary('mish'),
  Mod: modulo,
  Mul: binary('mul'),
  Neg: unary('neg'),
  Not: logical('not'),
  Or: logical('or'),
  Pow: pow,
  PRelu: prelu,
  Reciprocal: unary('reciprocal'),
  Relu: relu,
  Round: rounding('round'),
  Selu: parametric('selu', { alpha: 1.67326319217681884765625, gamma: 1.05070102214813232421875 }),
  Shrink: parametric('shrink', { lambd: 0.5, bias: 0 }),
  Sigmoid: unary('sigmoid'),
  Sign: uniform((node) => {
    const x = operandExpr(node, 0);
    return x.type === 'u32' ? call('min', [x, constant(1, 'u32')], 'u32') : call('sign', [x], x.type);
  }),
  Sin: unary('sin'),
  Sinh: unary('sinh'),
  Softplus: unary('softplus'),
  Softsign: unary('softsign'),
  Sqrt: unary('sqrt'),
  Sub: binary('sub'),
  Sum: nary('add'),
  /** x·sigmoid(αx) of the first operand, times the second. */
  SwiGLU: uniform((node) => {
    const gate = swish(operandExpr(node, 0), floatAttribute(node, 'alpha', 1));
    return call('mul', [gate, operandExpr(node, 1)]);
  }),
  Swish: uniform((node) => swish(operandExpr(node, 0), floatAttribute(node, 'alpha', 1))),
  Tan: unary('tan'),
  Tanh: unary('tanh'),
  ThresholdedRelu: parametric('thresholdedRelu', { alpha: 1 }),
  Where: where,
  Xor: logical('xor'),
};

/** Elementwise operators of the domain com.microsoft. */
export const microsoftElementwiseOps: OpTable = {
  /** x + bias, the bias over the last axis. */
  BiasGelu: uniform((node) => call('gelu', [call('add', [operandExpr(node, 0), operandExpr(node, 1)])])),
  /** x + bias + skip. */
  BiasAdd: uniform((node) =>
    [1, 2].reduce((sum, index) => call('add', [sum, operandExpr(node, index)]), operandExpr(node, 0)),
  ),
  FastGelu: uniform((node) => {
    const x = operandExpr(node, 0);
    return call('geluTanh', [hasOperand(node, 1) ? call('add', [x, operandExpr(node, 1)]) : x]);
  }),
  Gelu: unary('gelu'),
  QuickGelu: uniform((node) => swish(operandExpr(node, 0), floatAttribute(node, 'alpha', 1.702))),
};
