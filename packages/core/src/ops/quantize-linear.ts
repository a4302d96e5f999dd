import { ShapeError } from '../errors.ts';
import { call, constant, type Expr } from '../graph/expr.ts';
import { OWN_DOMAIN, type Node, type Value } from '../graph/graph.ts';
import { dataOf } from '../graph/match.ts';
import { codeOf } from '../onnx/element-types.ts';
import type { TensorView } from '../plan/plan.ts';
import type { DataType } from '../tensor/dtype.ts';
import { equalShapes, formatShape, normalizeAxis, sizeOf } from '../tensor/shape.ts';
import { dtypeAttribute } from './cast.ts';
import { Compose } from './compose.ts';
import { broadcastOperands } from './elementwise.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, hasOperand, intAttribute, operand } from './operands.ts';
import { unsupported } from './unsupported.ts';
import { castTo, convertTo, operandExpr } from './scalar-types.ts';

/** How scale and zero point lie along x: one for all, one for each index of an axis, or one for each block of it. */
type Granularity =
  { kind: 'tensor' } | { kind: 'axis'; axis: number } | { kind: 'block'; axis: number; size: number };

function granularityOf(node: Node): Granularity {
  const [x, scale] = [operand(node, 0), operand(node, 1)];
  if (sizeOf(scale.shape) === 1 && scale.shape.length <= 1) return { kind: 'tensor' };
  const axis = normalizeAxis(intAttribute(node, 'axis', 1), x.shape.length, describe(node));
  const size = intAttribute(node, 'block_size', 0);
  const dim = x.shape[axis]!;
  if (size === 0 && equalShapes(scale.shape, [dim])) return { kind: 'axis', axis };
  const blocks = size > 0 ? Math.ceil(dim / size) : NaN;
  if (size > 0 && equalShapes(scale.shape, x.shape.with(axis, blocks))) return { kind: 'block', axis, size };
  throw new ShapeError(describe(node), {
    expected: `scales for axis ${axis} of ${formatShape(x.shape)}`,
    actual: formatShape(scale.shape),
  });
}

/** A scale or zero point as a view that broadcasts to x, where it is one for all or for each index of an axis. */
function alongAxis(view: TensorView, granularity: Granularity, rank: number): TensorView {
  if (granularity.kind === 'block') return view;
  if (granularity.kind === 'tensor') {
    const ones = new Array<number>(rank).fill(1);
    return { ...view, shape: ones, strides: ones.map(() => 0) };
  }
  const shape = Array.from({ length: rank }, (_, axis) => (axis === granularity.axis ? view.shape[0]! : 1));
  return {
    ...view,
    shape,
    strides: shape.map((_, axis) => (axis === granularity.axis ? view.strides[0]! : 0)),
  };
}

const dequantizeLinear: OpDefinition = {
  infer(node) {
    granularityOf(node);
    const dtype = dtypeAttribute(node, 'output_dtype') ?? operand(node, 1).dtype;
    return [{ dtype, shape: operand(node, 0).shape }];
  },
  lower(node, lowering) {
    const x = lowering.view(operand(node, 0));
    const granularity = granularityOf(node);
    const take = (index: number): TensorView =>
      alongAxis(lowering.view(operand(node, index)), granularity, x.shape.length);
    const zero = hasOperand(node, 2) ? (oneNumber(operand(node, 2)) ?? take(2)) : 0;
    const block = granularity.kind === 'block' ? { block: granularity } : {};
    lowering.dequantized(node.outputs[0]!, { x, scale: take(1), zero, ...block });
  },
};

/** What all elements of a constant are, if they are the same: zero points of symmetric schemes. */
export function oneNumber(value: Value): number | undefined {
  const data = dataOf(value);
  return data?.every((element) => element === data[0]) ? data[0] : undefined;
}

const ranges: Partial<Record<DataType, readonly [number, number]>> = {
  int4: [-8, 7], uint4: [0, 15], int8: [-128, 127], uint8: [0, 255], int16: [-32768, 32767], uint16: [0, 65535],
}; // prettier-ignore

function quantizedType(node: Node): DataType {
  const dtype = hasOperand(node, 2)
    ? operand(node, 2).dtype
    : (dtypeAttribute(node, 'output_dtype') ?? 'uint8');
  if (ranges[dtype]) return dtype;
  throw unsupported(node, `quantizes to ${dtype}`);
}

/** Scale or zero point with x's rank, repeated for every element of its block. */
function spread(c: Compose, value: Value, x: Value, granularity: Granularity): Value {
  switch (granularity.kind) {
    case 'tensor':
      return c.reshape(value, []);
    case 'axis':
      return c.reshape(
        value,
        x.shape.map((dim, axis) => (axis === granularity.axis ? dim : 1)),
      );
    case 'block': {
      const { axis, size } = granularity;
      const blocks = Array.from({ length: x.shape[axis]! }, (_, k) => Math.floor(k / size));
      return c.op('Gather', [value, c.ints(blocks)], { axis });
    }
  }
}

const quantizeLinear: OpDefinition = {
  infer(node) {
    granularityOf(node);
    return [{ dtype: quantizedType(node), shape: operand(node, 0).shape }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const granularity = granularityOf(node);
    const scale = spread(c, operand(node, 1), x, granularity);
    const zero = hasOperand(node, 2) ? spread(c, operand(node, 2), x, granularity) : undefined;
    return [quantize(c, x, scale, zero, quantizedType(node))];
  },
};

/** Elements of x as `dtype`; scale and zero point broadcast to x. */
export function quantize(
  c: Compose,
  x: Value,
  scale: Value,
  zero: Value | undefined,
  dtype: DataType,
): Value {
  return c.op('Quantize', [x, scale, zero], { to: codeOf(dtype) }, OWN_DOMAIN);
}

/** `Quantize(x, scale, zero?)`: round(x / scale) + zero, kept in the range of the dtype `to`. All broadcast. */
const quantizeOp: OpDefinition = {
  infer: (node) => [{ dtype: dtypeAttribute(node, 'to')!, shape: broadcastOperands(node) }],
  elementwise(node): Expr {
    const dtype = dtypeAttribute(node, 'to')!;
    const [low, high] = ranges[dtype]!;
    const [x, scale] = [convertTo(operandExpr(node, 0), 'f32'), operandExpr(node, 1)];
    const rounded = call('round', [call('quotient', [x, scale])]);
    const moved = hasOperand(node, 2)
      ? call('add', [rounded, convertTo(operandExpr(node, 2), 'f32')])
      : rounded;
    return castTo(call('min', [call('max', [moved, constant(low)]), constant(high)]), dtype);
  },
};

/** The exactly rounded a / b: a scale that is off by its last bit gives other levels. */
function quotient(c: Compose, a: Value, b: Value): Value {
  return c.op('Quotient', [a, b], {}, OWN_DOMAIN);
}

const quotientOp: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 0).dtype, shape: broadcastOperands(node) }],
  elementwise: (node) => call('quotient', [operandExpr(node, 0), operandExpr(node, 1)]),
};

/** Quantizes to uint8 by the range of all elements, which is made to hold zero. */
const dynamicQuantizeLinear: OpDefinition = {
  infer(node) {
    const { shape } = operand(node, 0);
    return [
      { dtype: 'uint8', shape },
      { dtype: 'float32', shape: [] },
      { dtype: 'uint8', shape: [] },
    ];
  },
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const zero = c.scalar(0, 'float32');
    const least = c.op('Min', [c.op('ReduceMin', [x], { keepdims: 0 }), zero]);
    const largest = c.op('Max', [c.op('ReduceMax', [x], { keepdims: 0 }), zero]);
    const step = quotient(c, c.sub(largest, least), c.scalar(255, 'float32'));
    const isFlat = c.op('Equal', [step, zero]);
    const scale = c.op('Where', [isFlat, c.scalar(1, 'float32'), step]);
    const offset = c.op('Round', [quotient(c, c.op('Neg', [least]), scale)]);
    const zeroPoint = c.cast(c.op('Clip', [offset, zero, c.scalar(255, 'float32')]), 'uint8');
    return [quantize(c, x, scale, zeroPoint, 'uint8'), scale, zeroPoint];
  },
};

/** Operators that turn floats into small integers and back. */
export const quantizeLinearOps: OpTable = {
  DequantizeLinear: dequantizeLinear,
  DynamicQuantizeLinear: dynamicQuantizeLinear,
  QuantizeLinear: quantizeLinear,
};

/** Operators of our own domain. */
export const ownQuantizeOps: OpTable = { Quantize: quantizeOp, Quotient: quotientOp };
