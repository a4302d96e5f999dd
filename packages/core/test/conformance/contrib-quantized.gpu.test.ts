import type { NodeSpec } from '../onnx-writer.ts';
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
/** Rows of x, terms, columns and block sizes: one row and many, blocks that hang over, odd numbers of all of them. */
const nBitsCases = (
  [
    [4, 1, 192, 7, 64, true],
    [4, 33, 256, 9, 128, false],
    [4, 5, 45, 6, 16, true],
    [4, 40, 128, 66, 32, true],
    [8, 3, 64, 5, 16, false],
    [8, 1, 40, 7, 16, true],
    [8, 33, 200, 6, 128, true],
  ] as const
).map(([bits, rows, k, n, block, zeroPoints]): OperatorCase => {
  const blocks = Math.ceil(k / block);
  return {
    name: `${bits} bits, ${rows}×${k}×${n} in blocks of ${block}${zeroPoints ? ', zero points' : ''}`,
    op: 'MatMulNBits',
    operands: [
      float(rows, k),
      bytes('uint8', [n, blocks, (block * bits) / 8], 1),
      weight(n * blocks),
      zeroPoints ? bytes('uint8', [n * Math.ceil((blocks * bits) / 8)], 2) : undefined,
    ],
    attributes: nBits(bits, k, n, block),
  };
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
  ...nBitsCases,
  {
    name: 'int4 with zero points',
    op: 'GatherBlockQuantized',
    operands: [
      bytes('int4', [7, 32], 1),
      ints('int64', [3], [6, 0, 3]),
      weight(7, 2),
      bytes('int4', [7, 2], 2),
    ],
    attributes: { block_size: { int: 16 }, gather_axis: { int: 0 }, quantize_axis: { int: 1 } },
  },
  {
    name: '8 bits in blocks of 32, zero points',
    op: 'GatherBlockQuantized',
    operands: [
      bytes('uint8', [5, 64], 1),
      ints('int32', [2, 1], [4, 1]),
      weight(5, 2),
      bytes('uint8', [5, 2], 2),
    ],
    attributes: {
      block_size: { int: 32 },
      bits: { int: 8 },
      gather_axis: { int: 0 },
      quantize_axis: { int: 1 },
    },
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
    { op: 'Cast', inputs: ['p'], outputs: ['f'], attributes: { to: { int: 1 } } },
    { op: 'Mul', inputs: ['s', 'x2'], outputs: ['scale'] },
    { op: 'Mul', inputs: ['f', 'scale'], outputs: ['y0'] },
  ],
});
const dynamic: OperatorCase[] = [
  dynamicInt8('a layer', [2, 20, 64], [64, 24], { op: 'MatMulInteger' }),
  dynamicInt8('odd depth', [3, 45], [45, 7], { op: 'MatMulInteger' }),
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
compareAll('quantized activations', activations);
compareAll('dynamic int8', [...dynamic, dynamicConv]);
compareAll('integers', integers);
