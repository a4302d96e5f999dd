import type { Node, Value } from '../graph/graph.ts';
import type { DataType } from '../tensor/dtype.ts';
import { equalShapes, sizeOf, type Shape } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import { attributesOf, convolutionAttributes } from './contrib-linear.ts';
import { convOps } from './conv.ts';
import { matmulOps } from './matmul.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { hasOperand, operand, operands } from './operands.ts';
import { quantize } from './quantize-linear.ts';

/**
 * x - zero as floats, divided by 256: products then fit f16 where that is what activations are stored as, and in f32
 * nothing is lost by a power of two.
 */
function centred(c: Compose, x: Value, zero: Value | undefined, shape?: Shape): Value {
  const wide = c.cast(x, 'float32');
  const scale = c.scalar(1 / 256, 'float32');
  if (!zero) return c.mul(wide, scale);
  return c.mul(c.sub(wide, c.cast(shape ? c.reshape(zero, shape) : zero, 'float32')), scale);
}

/**
 * The same for weights, which stay in integers.
 *
 * @param axis what zero points differ along
 */
function centredWeight(c: Compose, x: Value, zero: Value | undefined, axis: number): Value | undefined {
  const isOne = !zero || sizeOf(zero.shape) === 1;
  if (x.origin.kind !== 'weight' || !(isOne || equalShapes(zero.shape, [x.shape[axis]!]))) return undefined;
  const shape = isOne ? [] : zero.shape;
  const scale = c.build.constant(new Array<number>(sizeOf(shape)).fill(1 / 256), shape, 'float32');
  return c.op('DequantizeLinear', [x, scale, zero && c.reshape(zero, shape)], { axis });
}

/** The integers that a product of `centred` operands stands for. Exact up to 2^24, like f32. */
function asInteger(c: Compose, product: Value): Value {
  return c.cast(c.op('Round', [c.mul(product, c.scalar(65536, 'float32'))]), 'int32');
}

/** Zero points as a shape that broadcasts to a matrix: one for all, for each row, or for each column. */
function zeroShape(zero: Value | undefined, side: 'rows' | 'columns'): Shape | undefined {
  if (zero?.shape.length !== 1) return undefined;
  if (zero.shape[0] === 1) return [];
  return side === 'rows' ? [zero.shape[0]!, 1] : undefined;
}

function integerProduct(c: Compose, a: Value, b: Value, aZero?: Value, bZero?: Value): Value {
  const left = centred(c, a, aZero, zeroShape(aZero, 'rows'));
  const right =
    centredWeight(c, b, bZero, b.shape.length - 1) ?? centred(c, b, bZero, zeroShape(bZero, 'columns'));
  return asInteger(c, c.op('MatMul', [left, right]));
}

/** Shape of the product of operands `left` and `right`. */
function productShape(node: Node, left: number, right: number): Shape {
  return matmulOps['MatMul']!.infer({ ...node, inputs: [operand(node, left), operand(node, right)] })[0]!
    .shape;
}

const matMulInteger: OpDefinition = {
  infer: (node) => [{ dtype: 'int32', shape: productShape(node, 0, 1) }],
  expand(node, build) {
    const [a, b, aZero, bZero] = node.inputs as [Value, Value, Value?, Value?];
    return [integerProduct(new Compose(build), a, b, aZero, bZero)];
  },
};

/** Shape of the convolution of operands `x` and `w`. */
function convolvedShape(node: Node, x: number, w: number): Shape {
  return convOps['Conv']!.infer({ ...node, inputs: [operand(node, x), operand(node, w)] })[0]!.shape;
}

/** One element for each output channel (or one for all) as a shape that broadcasts to weights [O, …]. */
function byOutput(value: Value, rank: number): Shape {
  return value.shape[0] === undefined || value.shape[0] === 1
    ? []
    : [value.shape[0], ...new Array<number>(rank - 1).fill(1)];
}

function integerConvolution(c: Compose, node: Node, x: Value, w: Value, xZero?: Value, wZero?: Value): Value {
  const rank = w.shape.length;
  const picture = centred(c, x, xZero, xZero && []);
  const weights = centredWeight(c, w, wZero, 0) ?? centred(c, w, wZero, wZero && byOutput(wZero, rank));
  return asInteger(c, c.op('Conv', [picture, weights], attributesOf(node, convolutionAttributes)));
}

const convInteger: OpDefinition = {
  infer: (node) => [{ dtype: 'int32', shape: convolvedShape(node, 0, 1) }],
  expand(node, build) {
    const [x, w, xZero, wZero] = node.inputs as [Value, Value, Value?, Value?];
    return [integerConvolution(new Compose(build), node, x, w, xZero, wZero)];
  },
};

/** The scale of one side of a product, as a shape that broadcasts to the product. */
function sideScale(c: Compose, scale: Value, side: 'rows' | 'columns'): Value {
  const wide = c.cast(scale, 'float32');
  const shape = zeroShape(wide, side);
  return shape ? c.reshape(wide, shape) : wide;
}

/** Quantized operands, a quantized result: a, scale, zero; b, scale, zero; the result's scale and zero. */
const qLinearMatMul: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 7).dtype, shape: productShape(node, 0, 3) }],
  expand(node, build) {
    const c = new Compose(build);
    const [a, aScale, aZero, b, bScale, bZero, yScale, yZero] = operands(node, 8);
    const product = c.cast(integerProduct(c, a!, b!, aZero, bZero), 'float32');
    const scale = c.mul(sideScale(c, aScale!, 'rows'), sideScale(c, bScale!, 'columns'));
    const y = c.mul(product, scale);
    return [quantize(c, y, sideScale(c, yScale!, 'rows'), zeroOf(c, yZero!), yZero!.dtype)];
  },
};

function zeroOf(c: Compose, zero: Value): Value {
  const shape = zeroShape(zero, 'rows');
  return shape ? c.reshape(zero, shape) : zero;
}

/** x, scale, zero; w, scale, zero; the result's scale and zero; a bias in the units of the products. */
const qLinearConv: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 7).dtype, shape: convolvedShape(node, 0, 3) }],
  expand(node, build) {
    const c = new Compose(build);
    const [x, xScale, xZero, w, wScale, wZero, yScale, yZero] = operands(node, 8);
    const product = c.cast(integerConvolution(c, node, x!, w!, xZero, wZero), 'float32');
    const perChannel = (value: Value): Value => {
      const shape = byOutput(value, product.shape.length - 1);
      return c.reshape(c.cast(value, 'float32'), shape);
    };
    const sum = hasOperand(node, 8) ? c.add(product, perChannel(operand(node, 8))) : product;
    const y = c.mul(sum, c.mul(c.reshape(xScale!, []), perChannel(wScale!)));
    return [quantize(c, y, c.reshape(yScale!, []), c.reshape(yZero!, []), yZero!.dtype)];
  },
};

/** A product of integers times both scales, plus a bias. */
function scaledProduct(c: Compose, operands: readonly (Value | undefined)[], dtype: DataType): Value {
  const [a, b, aScale, bScale, aZero, bZero, bias] = operands;
  const product = c.cast(integerProduct(c, a!, b!, aZero, bZero), 'float32');
  const scale = c.mul(sideScale(c, aScale!, 'rows'), sideScale(c, bScale!, 'columns'));
  const y = c.cast(c.mul(product, scale), dtype);
  return bias ? c.add(y, bias) : y;
}

const matMulIntegerToFloat: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 2).dtype, shape: productShape(node, 0, 1) }],
  expand(node, build) {
    const given = [...operands(node, 4), ...node.inputs.slice(4)];
    return [scaledProduct(new Compose(build), given, operand(node, 2).dtype)];
  },
};

const dynamicQuantizeMatMul: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 0).dtype, shape: productShape(node, 0, 1) }],
  expand(node, build) {
    const c = new Compose(build);
    const [x, b, bScale] = operands(node, 3) as [Value, Value, Value];
    const [bZero, bias] = node.inputs.slice(3);
    const [a, aScale, aZero] = build.node('DynamicQuantizeLinear', [x], {}, { outputs: 3 });
    return [scaledProduct(c, [a, b, aScale, bScale, aZero, bZero, bias], x.dtype)];
  },
};

/** Products and convolutions of integers: computed as floats, which hold these integers exactly. */
export const integerOps: OpTable = {
  ConvInteger: convInteger,
  MatMulInteger: matMulInteger,
  QLinearConv: qLinearConv,
  QLinearMatMul: qLinearMatMul,
};

/** Those of the domain com.microsoft. */
export const microsoftIntegerOps: OpTable = {
  DynamicQuantizeMatMul: dynamicQuantizeMatMul,
  MatMulIntegerToFloat: matMulIntegerToFloat,
};
