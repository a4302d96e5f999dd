import { ShapeError } from '../errors.ts';
import type { Node, Value } from '../graph/graph.ts';
import { rowMajor } from '../plan/view.ts';
import type { Shape } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import { convOps } from './conv.ts';
import { matmulOps } from './matmul.ts';
import type { OpDefinition, OpTable, TensorType } from './op.ts';
import {
  describe,
  floatAttribute,
  floatsAttribute,
  hasOperand,
  intAttribute,
  operand,
  stringAttribute,
} from './operands.ts';

// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

type Attributes = Record<string, number | readonly number[] | string>;

/** The node with operands of other shapes: to ask another operator's definition what it would infer. */
export function withShapes(node: Node, shapes: readonly (Shape | undefined)[]): Node {
  return {
    ...node,
    inputs: shapes.map((shape, k) => shape && { ...operand(node, k), shape, origin: { kind: 'input' } }),
  };
}

/** Attributes of those names, as a rewrite takes them. */
export function attributesOf(node: Node, names: readonly string[]): Attributes {
  const result: Attributes = {};
  for (const name of names) {
    const attribute = node.attributes.get(name);
    if (!attribute) continue;
    const { type } = attribute;
    if (type === 'int' || type === 'float' || type === 'string' || type === 'ints' || type === 'floats') {
      result[name] = attribute.value;
    }
  }
  return result;
}

/** Attributes that all forms of Conv share. */
export const convolutionAttributes: readonly string[] = [
  'auto_pad',
  'dilations',
  'group',
  'kernel_shape',
  'pads',
  'strides',
];

const last = (shape: Shape): number[] => [shape[0]!, ...shape.slice(2), shape[1]!];
const first = (shape: Shape): number[] => [shape[0]!, shape.at(-1)!, ...shape.slice(1, -1)];

/** Conv of a picture and weights with the channels last: [N, …, C] and [O, …, C / groups]. */
const nhwcConv: OpDefinition = {
  infer(node) {
    const shapes = [first(operand(node, 0).shape), first(operand(node, 1).shape), node.inputs[2]?.shape];
    const [y] = convOps['Conv']!.infer(withShapes(node, shapes));
    return [{ dtype: y!.dtype, shape: last(y!.shape) }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const inputs = [c.channelsFirst(operand(node, 0)), c.channelsFirst(operand(node, 1)), node.inputs[2]];
    return [c.channelsLast(c.op('Conv', inputs, attributesOf(node, convolutionAttributes)))];
  },
};

/** What `activation` names, with its parameters. */
function activate(c: Compose, x: Value, node: Node, parameters: readonly number[]): Value {
  const activation = stringAttribute(node, 'activation', '');
  const [alpha, beta] = parameters;
  switch (activation) {
    case '':
      return x;
    case 'Relu':
    case 'Sigmoid':
    case 'Tanh':
    case 'Softplus':
    case 'HardSwish':
      return c.op(activation, [x]);
    case 'LeakyRelu':
    case 'Elu':
      return c.op(activation, [x], alpha === undefined ? {} : { alpha });
    case 'HardSigmoid':
      return c.op(activation, [x], alpha === undefined || beta === undefined ? {} : { alpha, beta });
    case 'Clip':
      return c.op(activation, [
        x,
        c.scalar(alpha ?? -Infinity, x.dtype),
        c.scalar(beta ?? Infinity, x.dtype),
      ]);
    default:
      throw new ShapeError(describe(node), { expected: 'an activation that is known', actual: activation });
  }
}

/** Conv, an operand added to it, an activation. */
const fusedConv: OpDefinition = {
  infer: (node) => convOps['Conv']!.infer({ ...node, inputs: node.inputs.slice(0, 3) }),
  expand(node, build) {
    const c = new Compose(build);
    const y = c.op('Conv', node.inputs.slice(0, 3), attributesOf(node, convolutionAttributes));
    const sum = hasOperand(node, 3) ? c.add(y, operand(node, 3)) : y;
    return [activate(c, sum, node, floatsAttribute(node, 'activation_params', []))];
  },
};

/** The order of axes that FusedMatMul multiplies an operand in: the batch and the matrix may both be transposed. */
function matrixOrder(rank: number, transBatch: boolean, trans: boolean): number[] {
  if (rank < 2) return rowMajor(rank);
  const order = transBatch ? [...rowMajor(rank).slice(1, -1), 0, rank - 1] : rowMajor(rank);
  return trans ? [...order.slice(0, -2), order.at(-1)!, order.at(-2)!] : order;
}

function fusedMatMulOrders(node: Node): [number[], number[]] {
  const isSet = (name: string): boolean => intAttribute(node, name, 0) !== 0;
  const order = (index: number, side: string): number[] =>
    matrixOrder(operand(node, index).shape.length, isSet(`transBatch${side}`), isSet(`trans${side}`));
  return [order(0, 'A'), order(1, 'B')];
}

/** alpha · A · B, each possibly transposed. */
const fusedMatMul: OpDefinition = {
  infer(node) {
    const shapes = fusedMatMulOrders(node).map((order, k) =>
      order.map((axis) => operand(node, k).shape[axis]!),
    );
    return matmulOps['MatMul']!.infer(withShapes(node, shapes));
  },
  expand(node, build) {
    const c = new Compose(build);
    const [a, b] = fusedMatMulOrders(node).map((order, k) => c.transpose(operand(node, k), order));
    const product = c.op('MatMul', [a, b]);
    const alpha = floatAttribute(node, 'alpha', 1);
    return [alpha === 1 ? product : c.mul(product, c.scalar(alpha, product.dtype))];
  },
};

/** Gemm and an activation. */
const fusedGemm: OpDefinition = {
  infer: (node) => matmulOps['Gemm']!.infer(node),
  expand(node, build) {
    const c = new Compose(build);
    const y = c.op('Gemm', node.inputs, attributesOf(node, ['alpha', 'beta', 'transA', 'transB']));
    const parameters = ['activation_alpha', 'activation_beta'].flatMap(
      (name) => floatAttribute(node, name) ?? [],
    );
    return [activate(c, y, node, parameters)];
  },
};

/** X · W + bias through the fast form of GELU. */
const gemmFastGelu: OpDefinition = {
  infer: (node) => matmulOps['MatMul']!.infer({ ...node, inputs: node.inputs.slice(0, 2) }),
  expand(node, build) {
    const c = new Compose(build);
    const product = c.op('MatMul', node.inputs.slice(0, 2));
    const sum = hasOperand(node, 2) ? c.add(product, operand(node, 2)) : product;
    return [c.op('Gelu', [sum], { approximate: 'tanh' })];
  },
};

/** x + bias in two halves of the last axis: the first times GELU of the second. */
const biasSplitGelu: OpDefinition = {
  infer(node): TensorType[] {
    const { dtype, shape } = operand(node, 0);
    const width = shape.at(-1)! / 2;
    if (!Number.isInteger(width)) {
      throw new ShapeError(describe(node), { expected: 'an even last axis', actual: String(shape.at(-1)) });
    }
    return [{ dtype, shape: [...shape.slice(0, -1), width] }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const sum = c.add(operand(node, 0), operand(node, 1));
    const width = sum.shape.at(-1)! / 2;
    const [left, right] = c.split(sum, sum.shape.length - 1, [width, width]);
    return [c.mul(left!, c.op('Gelu', [right]))];
  },
};

/** Products, convolutions and what is fused with them in the domain com.microsoft. */
export const contribLinearOps: OpTable = {
  BiasSplitGelu: biasSplitGelu,
  FusedConv: fusedConv,
  FusedGemm: fusedGemm,
  FusedMatMul: fusedMatMul,
  GemmFastGelu: gemmFastGelu,
  NhwcConv: nhwcConv,
  TransposeMatMul: fusedMatMul,
};
