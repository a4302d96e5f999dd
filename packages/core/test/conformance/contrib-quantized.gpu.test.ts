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
  {
    name: 'along an axis',
    op: 'DequantizeLinear',
    domain: '',
    operands: [bytes('int8', [3, 5, 4], 1), weight(5), bytes('int8', [5], 2)],
    attributes: { axis: { int: 1 } },
  },
  {
    name: 'last block hangs over',
    op: 'DequantizeLinear',
    domain: '',
    operands: [bytes('int8', [3, 7, 4], 1), weight(3, 3, 4), bytes('int8', [3, 3, 4], 2)],
    attributes: { axis: { int: 1 }, block_size: { int: 3 } },
  },
];

compareAll('quantized', quantized);
compareAll('integers', integers);
