import type { AttributeSpec, NodeSpec } from '../onnx-writer.ts';
import { bytes, compareAll, float, weight, type OperatorCase } from './against-ort.ts';

// Weights through DequantizeLinear, compared with onnxruntime on the CPU.

type Format = 'int4' | 'uint4' | 'int8' | 'uint8';

/** A weight through DequantizeLinear: operands x1 (integers), x2 (scales), x3 (zero points); the weight is `w`. */
interface Dequantized {
  dtype: Format;
  shape: number[];
  scale: number[];
  axis?: number;
  block?: number;
  zero?: boolean;
  opset: number;
}
const int = (value: number): AttributeSpec => ({ int: value });
function qdq(
  name: string,
  x: number[],
  weights: Dequantized,
  node: NodeSpec,
  more: Partial<OperatorCase> = {},
): OperatorCase {
  const { dtype, shape, scale, axis, block, zero, opset } = weights;
  const dequantize: NodeSpec = {
    op: 'DequantizeLinear',
    inputs: ['x1', 'x2', ...(zero ? ['x3'] : [])],
    outputs: ['w'],
    attributes: { ...(axis !== undefined && { axis: int(axis) }), ...(block && { block_size: int(block) }) },
  };
  return {
    name,
    op: node.op,
    opset,
    nodes: [dequantize, node],
    operands: [
      float(...x),
      bytes(dtype, shape, 1),
      weight(...scale),
      ...(zero ? [bytes(dtype, scale, 2)] : []),
    ],
    ...more,
  };
}
const matMul: NodeSpec = { op: 'MatMul', inputs: ['x0', 'w'], outputs: ['y0'] };
const gemm: NodeSpec = {
  op: 'Gemm',
  inputs: ['x0', 'w'],
  outputs: ['y0'],
  attributes: { transB: int(1), alpha: { float: 0.5 } },
};
const conv = (pads: number[] = [1, 1, 1, 1], group = 1): NodeSpec => ({
  op: 'Conv',
  inputs: ['x0', 'w'],
  outputs: ['y0'],
  attributes: { pads: { ints: pads }, group: int(group) },
});

const gather: NodeSpec = { op: 'Gather', inputs: ['w', 'ids'], outputs: ['y0'] };
const ids = {
  ids: { dtype: 'int64', dims: [3], raw: new Uint8Array(BigInt64Array.from([7n, 0n, 3n]).buffer) },
} as const;
/** A weight that lies with its columns as rows, as PyTorch has them. */
const transposed = (attributes: Record<string, AttributeSpec>, zero = false): NodeSpec[] => [
  { op: 'DequantizeLinear', inputs: ['x1', 'x2', ...(zero ? ['x3'] : [])], outputs: ['d'], attributes },
  { op: 'Transpose', inputs: ['d'], outputs: ['w'], attributes: { perm: { ints: [1, 0] } } },
  matMul,
];

/** Products of x with several weights: one product, whose weight is theirs side by side. */
function beside(name: string, weights: Dequantized, widths: readonly number[], node: NodeSpec): OperatorCase {
  const { dtype, shape, scale, axis, block, zero, opset } = weights;
  const own = 2 + Number(zero ?? false);
  const column = node.op === 'Gemm' ? 0 : 1;
  const nodes = widths.flatMap((_, i): NodeSpec[] => {
    const inputs = Array.from({ length: own }, (__, k) => `x${1 + own * i + k}`);
    const attributes = { axis: int(axis!), ...(block && { block_size: int(block) }) };
    return [
      { op: 'DequantizeLinear', inputs, outputs: [`w${i}`], attributes },
      { ...node, inputs: ['x0', `w${i}`], outputs: [`p${i}`] },
    ];
  });
  const operands = widths.flatMap((width, i) => {
    const scales = scale.with(scale.length === 1 ? 0 : column, width);
    const zeros = zero ? [bytes(dtype, scales, 20 + i)] : [];
    return [bytes(dtype, shape.with(column, width), 10 + i), weight(...scales), ...zeros];
  });
  const all: NodeSpec = {
    op: 'Concat',
    inputs: widths.map((_, i) => `p${i}`),
    outputs: ['y0'],
    attributes: { axis: int(-1) },
  };
  return {
    name,
    op: node.op,
    opset,
    nodes: [...nodes, all],
    operands: [float(33, shape[1 - column]!), ...operands],
  };
}

// DequantizeLinear on weights of products and convolutions, as exporters and quantizers of all ages write it.
const dequantized: OperatorCase[] = [
  qdq('opset 10, one scale', [5, 64], { dtype: 'int8', shape: [64, 24], scale: [], opset: 10 }, matMul),
  qdq(
    'opset 13, by column',
    [2, 33, 64],
    { dtype: 'int8', shape: [64, 24], scale: [24], axis: 1, opset: 13 },
    matMul,
  ),
  qdq(
    'opset 13, by column, zero points',
    [33, 64],
    { dtype: 'uint8', shape: [64, 24], scale: [24], axis: 1, zero: true, opset: 13 },
    matMul,
  ),
  qdq(
    'opset 19, one scale and zero point',
    [33, 64],
    { dtype: 'uint8', shape: [64, 24], scale: [], zero: true, opset: 19 },
    matMul,
  ),
  qdq(
    'opset 21, int4 in blocks',
    [33, 64],
    { dtype: 'int4', shape: [64, 24], scale: [2, 24], axis: 0, block: 32, opset: 21 },
    matMul,
  ),
  qdq(
    'opset 21, uint4 in blocks of 16, zero points',
    [33, 64],
    { dtype: 'uint4', shape: [64, 24], scale: [4, 24], axis: 0, block: 16, zero: true, opset: 21 },
    matMul,
  ),
  qdq(
    'opset 21, int8 in blocks of 128',
    [3, 256],
    { dtype: 'int8', shape: [256, 24], scale: [2, 24], axis: 0, block: 128, opset: 21 },
    matMul,
  ),
  qdq(
    'opset 23, uint8 in blocks',
    [33, 64],
    { dtype: 'uint8', shape: [64, 24], scale: [2, 24], axis: 0, block: 32, zero: true, opset: 23 },
    matMul,
  ),
  qdq(
    'opset 21, blocks along columns',
    [33, 64],
    { dtype: 'int4', shape: [64, 32], scale: [64, 2], axis: 1, block: 16, opset: 21 },
    matMul,
    { inflated: true },
  ),
  qdq(
    'by row of the transposed weight',
    [5, 64],
    { dtype: 'int8', shape: [24, 64], scale: [24], axis: 0, opset: 13 },
    gemm,
  ),
  qdq(
    'int4 in blocks',
    [33, 64],
    { dtype: 'int4', shape: [24, 64], scale: [24, 2], axis: 1, block: 32, opset: 21 },
    gemm,
  ),
  qdq(
    '3x3, int8 by channel',
    [1, 20, 7, 6],
    { dtype: 'int8', shape: [24, 20, 3, 3], scale: [24], axis: 0, opset: 13 },
    conv(),
  ),
  qdq(
    '3x3, uint4 in blocks, zero points',
    [1, 64, 7, 6],
    {
      dtype: 'uint4',
      shape: [24, 64, 3, 3],
      scale: [24, 4, 3, 3],
      axis: 1,
      block: 16,
      zero: true,
      opset: 21,
    },
    conv(),
  ),
  qdq(
    'opset 13, odd depth',
    [7, 45],
    { dtype: 'int8', shape: [45, 9], scale: [9], axis: 1, opset: 13 },
    matMul,
  ),
  qdq(
    'opset 21, last block hangs over',
    [5, 40],
    { dtype: 'int4', shape: [40, 16], scale: [2, 16], axis: 0, block: 32, opset: 21 },
    matMul,
  ),
  qdq(
    'opset 13, transposed',
    [5, 64],
    { dtype: 'int8', shape: [24, 64], scale: [24], axis: 0, opset: 13 },
    matMul,
    { nodes: transposed({ axis: int(0) }) },
  ),
  qdq(
    'opset 21, uint4 in blocks, transposed',
    [5, 64],
    { dtype: 'uint4', shape: [25, 64], scale: [25, 4], axis: 1, block: 16, zero: true, opset: 21 },
    matMul,
    { nodes: transposed({ axis: int(1), block_size: int(16) }, true) },
  ),
  qdq(
    'opset 13, uint8 with zero point, not transposed, one scale',
    [5, 64],
    { dtype: 'uint8', shape: [64, 24], scale: [], zero: true, opset: 13 },
    { ...gemm, attributes: {} },
  ),
  qdq(
    'opset 19, uint8 by channel, odd channels',
    [1, 7, 5, 6],
    { dtype: 'uint8', shape: [9, 7, 3, 3], scale: [9], axis: 0, zero: true, opset: 19 },
    conv(),
  ),
  qdq(
    'opset 21, int8 in blocks of 16, 1x1 over odd pixels',
    [2, 48, 5, 3],
    { dtype: 'int8', shape: [10, 48, 1, 1], scale: [10, 3, 1, 1], axis: 1, block: 16, opset: 21 },
    conv([0, 0, 0, 0]),
  ),
  qdq(
    'groups of int4 in blocks',
    [1, 64, 7, 6],
    { dtype: 'int4', shape: [16, 32, 3, 3], scale: [16, 2, 3, 3], axis: 1, block: 16, opset: 21 },
    conv([1, 1, 1, 1], 2),
  ),
  qdq(
    'opset 23, int8 in blocks of 32',
    [1, 2],
    { dtype: 'int8', shape: [10, 64], scale: [10, 2], axis: 1, block: 32, opset: 23 },
    gather,
    { initializers: ids },
  ),
  qdq(
    'opset 21, uint4 by row, zero points',
    [1, 2],
    { dtype: 'uint4', shape: [10, 64], scale: [10], axis: 0, zero: true, opset: 21 },
    gather,
    { initializers: ids },
  ),
  qdq(
    'groups',
    [1, 32, 7, 6],
    { dtype: 'int8', shape: [16, 16, 3, 3], scale: [16], axis: 0, opset: 13 },
    conv([1, 1, 1, 1], 2),
  ),
  beside(
    'three of one x, int4 in blocks',
    { dtype: 'int4', shape: [64, 0], scale: [2, 0], axis: 0, block: 32, opset: 21 },
    [24, 24, 16],
    matMul,
  ),
  beside(
    'two of one x, uint4 in blocks, zero points, odd columns',
    { dtype: 'uint4', shape: [64, 0], scale: [4, 0], axis: 0, block: 16, zero: true, opset: 21 },
    [9, 23],
    matMul,
  ),
  beside(
    'three of one x, uint8 by column, zero points',
    { dtype: 'uint8', shape: [64, 0], scale: [0], axis: 1, zero: true, opset: 13 },
    [24, 8, 24],
    matMul,
  ),
  beside(
    'three of one x, int8 by row of the transposed weight',
    { dtype: 'int8', shape: [0, 64], scale: [0], axis: 0, opset: 13 },
    [24, 8, 40],
    { ...gemm, attributes: { transB: int(1) } },
  ),
  beside(
    'two of one x, int4 in blocks of the transposed weight',
    { dtype: 'int4', shape: [0, 64], scale: [0, 2], axis: 1, block: 32, opset: 21 },
    [24, 40],
    { ...gemm, attributes: { transB: int(1) } },
  ),
  qdq('int8 by row', [1, 2], { dtype: 'int8', shape: [10, 32], scale: [10], axis: 0, opset: 13 }, gather, {
    initializers: ids,
  }),
];

compareAll('dequantized weights', dequantized);
