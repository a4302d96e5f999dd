import type { AttributeSpec, NodeSpec } from '../onnx-writer.ts';
import {
  bytes,
  compareAll,
  float,
  ints,
  weight,
  type CaseOperand,
  type OperatorCase,
} from './against-ort.ts';

// Quantized operators, compared with onnxruntime on the CPU.

const nBits = (bits: number, k: number, n: number, block: number): Record<string, { int: number }> => ({
  K: { int: k },
  N: { int: n },
  bits: { int: bits },
  block_size: { int: block },
});
const quantized: OperatorCase[] = [
  {
    name: '4 bits',
    op: 'MatMulNBits',
    operands: [float(2, 3, 64), bytes('uint8', [8, 2, 16], 1), weight(16)],
    attributes: nBits(4, 64, 8, 32),
  },
  {
    name: '4 bits, zero points, odd blocks, bias',
    op: 'MatMulNBits',
    operands: [
      float(3, 48),
      bytes('uint8', [5, 3, 8], 1),
      weight(15),
      bytes('uint8', [10], 2),
      undefined,
      weight(5),
    ],
    attributes: nBits(4, 48, 5, 16),
  },
  {
    name: '4 bits, last block hangs over',
    op: 'MatMulNBits',
    operands: [float(3, 40), bytes('uint8', [4, 3, 8], 1), weight(12), bytes('uint8', [8], 2)],
    attributes: nBits(4, 40, 4, 16),
  },
  {
    name: '4 bits, float zero points',
    op: 'MatMulNBits',
    operands: [float(3, 32), bytes('uint8', [4, 2, 8], 1), weight(8), weight(8)],
    attributes: nBits(4, 32, 4, 16),
  },
  {
    name: '4 bits, groups in order',
    op: 'MatMulNBits',
    operands: [
      float(3, 64),
      bytes('uint8', [8, 2, 16], 1),
      weight(16),
      undefined,
      {
        ...ints(
          'int32',
          [64],
          Array.from({ length: 64 }, (_, k) => k >> 5),
        ),
        weight: true,
      },
    ],
    attributes: nBits(4, 64, 8, 32),
  },
  {
    name: '8 bits, zero points',
    op: 'MatMulNBits',
    operands: [float(3, 64), bytes('uint8', [4, 2, 32], 1), weight(8), bytes('uint8', [8], 2)],
    attributes: nBits(8, 64, 4, 32),
  },
  {
    name: 'bytes of two',
    op: 'GatherBlockQuantized',
    operands: [bytes('uint8', [6, 16], 1), ints('int64', [2, 2], [5, 0, 3, 3]), weight(6, 2)],
    attributes: { block_size: { int: 16 }, bits: { int: 4 } },
  },
  {
    name: 'scales by column',
    op: 'MatMulIntegerToFloat',
    operands: [
      bytes('uint8', [3, 8], 1),
      bytes('int8', [8, 4], 2),
      weight(1),
      weight(4),
      bytes('uint8', [1], 3),
      bytes('int8', [4], 4),
      weight(4),
    ],
  },
  {
    name: 'with a bias',
    op: 'DynamicQuantizeMatMul',
    operands: [float(3, 8), bytes('int8', [8, 4], 2), weight(4), bytes('int8', [4], 4), weight(4)],
  },
];

/** Values halfway between the levels that a range is divided into: the last bit of the scale decides about each. */
function halfway(range: number): CaseOperand {
  const scale = Math.fround(Math.fround(range) / 255);
  return {
    shape: [257],
    data: [0, Math.fround(range), ...Array.from({ length: 255 }, (_, k) => Math.fround((k + 0.5) * scale))],
  };
}

const input = (operand: CaseOperand): CaseOperand => ({ ...operand, weight: false });
const integers: OperatorCase[] = [
  {
    name: 'pads, strides, zero points',
    op: 'ConvInteger',
    domain: '',
    operands: [
      input(bytes('uint8', [2, 16, 9, 8], 1)),
      bytes('uint8', [24, 16, 3, 3], 2),
      input(bytes('uint8', [], 3)),
      bytes('uint8', [], 4),
    ],
    attributes: { pads: { ints: [1, 1, 1, 1] }, strides: { ints: [2, 1] } },
    outputs: ['int32'],
  },
  {
    name: 'larger than a tile',
    op: 'MatMulInteger',
    domain: '',
    operands: [
      input(bytes('uint8', [2, 33, 160], 1)),
      bytes('uint8', [160, 70], 2),
      input(bytes('uint8', [], 3)),
      bytes('uint8', [], 4),
    ],
    outputs: ['int32'],
  },
  {
    name: 'many elements',
    op: 'DynamicQuantizeLinear',
    domain: '',
    operands: [float(3, 40, 50)],
    outputs: ['uint8', 'float32', 'uint8'],
  },
  ...[0.84, 1.58, 5.65, 7.5].map((range): OperatorCase => ({
    name: `halfway between levels of ${range}`,
    op: 'DynamicQuantizeLinear',
    domain: '',
    operands: [halfway(range)],
    outputs: ['uint8', 'float32', 'uint8'],
  })),
  {
    name: 'along an axis',
    inflated: true,
    op: 'DequantizeLinear',
    domain: '',
    operands: [bytes('int8', [3, 5, 4], 1), weight(5), bytes('int8', [5], 2)],
    attributes: { axis: { int: 1 } },
  },
  {
    name: 'last block hangs over',
    inflated: true,
    op: 'DequantizeLinear',
    domain: '',
    operands: [bytes('int8', [3, 7, 4], 1), weight(3, 3, 4), bytes('int8', [3, 3, 4], 2)],
    attributes: { axis: { int: 1 }, block_size: { int: 3 } },
  },
];

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
    '3x3, uint8 by channel, zero points',
    [1, 20, 7, 6],
    { dtype: 'uint8', shape: [24, 20, 3, 3], scale: [24], axis: 0, zero: true, opset: 13 },
    conv(),
  ),
  qdq(
    '3x3, int8, one scale',
    [1, 20, 7, 6],
    { dtype: 'int8', shape: [24, 20, 3, 3], scale: [], opset: 10 },
    conv(),
  ),
  qdq(
    '3x3, int4 in blocks of channels',
    [1, 64, 7, 6],
    { dtype: 'int4', shape: [24, 64, 3, 3], scale: [24, 2, 3, 3], axis: 1, block: 32, opset: 21 },
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
    '1x1, int4 in blocks',
    [1, 64, 7, 6],
    { dtype: 'int4', shape: [24, 64, 1, 1], scale: [24, 2, 1, 1], axis: 1, block: 32, opset: 21 },
    conv([0, 0, 0, 0]),
  ),
  qdq(
    'groups',
    [1, 32, 7, 6],
    { dtype: 'int8', shape: [16, 16, 3, 3], scale: [16], axis: 0, opset: 13 },
    conv([1, 1, 1, 1], 2),
  ),
  qdq(
    'int8 by row',
    [1, 2],
    { dtype: 'int8', shape: [10, 32], scale: [10], axis: 0, opset: 13 },
    { op: 'Gather', inputs: ['w', 'ids'], outputs: ['y0'] },
    {
      initializers: {
        ids: { dtype: 'int64', dims: [3], raw: new Uint8Array(BigInt64Array.from([7n, 0n, 3n]).buffer) },
      },
    },
  ),
];

const dequantizeLike = (name: string, opset: number, dtype: 'int8' | 'uint8'): OperatorCase => ({
  name,
  op: 'QuantizeLinear',
  opset,
  operands: [float(3, 40), { shape: [], data: [0.007], weight: true }, bytes(dtype, [], 1)],
  nodes: [
    { op: 'QuantizeLinear', inputs: ['x0', 'x1', 'x2'], outputs: ['q'] },
    { op: 'DequantizeLinear', inputs: ['q', 'x1', 'x2'], outputs: ['y0'] },
  ],
});
const activations: OperatorCase[] = [
  dequantizeLike('and back, opset 10', 10, 'uint8'),
  dequantizeLike('and back, opset 23', 23, 'int8'),
];

/** What a dynamic quantizer makes of a linear layer and of a convolution. */
const dynamicInt8 = (
  name: string,
  x: number[],
  w: number[],
  node: Omit<NodeSpec, 'inputs'>,
): OperatorCase => ({
  name,
  op: node.op,
  opset: 17,
  operands: [
    float(...x),
    bytes('int8', w, 1),
    { shape: [], data: [0.004], weight: true },
    { ...bytes('int8', [], 0), data: [0] },
  ],
  nodes: [
    { op: 'DynamicQuantizeLinear', inputs: ['x0'], outputs: ['q', 's', 'z'] },
    { ...node, inputs: ['q', 'x1', 'z', 'x3'], outputs: ['p'] },
    { op: 'Cast', inputs: ['p'], outputs: ['f'], attributes: { to: int(1) } },
    { op: 'Mul', inputs: ['s', 'x2'], outputs: ['scale'] },
    { op: 'Mul', inputs: ['f', 'scale'], outputs: ['y0'] },
  ],
});
const dynamic: OperatorCase[] = [
  dynamicInt8('a layer', [2, 20, 64], [64, 24], { op: 'MatMulInteger' }),
  dynamicInt8('a deep layer', [9, 640], [640, 24], { op: 'MatMulInteger' }),
];
// onnxruntime's ConvInteger takes unsigned weights only.
const dynamicConv: OperatorCase = {
  ...dynamicInt8('3x3', [1, 32, 8, 7], [24, 32, 3, 3], {
    op: 'ConvInteger',
    attributes: { pads: { ints: [1, 1, 1, 1] } },
  }),
  operands: [
    float(1, 32, 8, 7),
    bytes('uint8', [24, 32, 3, 3], 1),
    { shape: [], data: [0.004], weight: true },
    { ...bytes('uint8', [], 0), data: [131] },
  ],
};

compareAll('quantized', quantized);
compareAll('dequantized weights', dequantized);
compareAll('quantized activations', activations);
compareAll('dynamic int8', [...dynamic, dynamicConv]);
compareAll('integers', integers);
