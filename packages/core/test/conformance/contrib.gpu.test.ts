import { afterAll, beforeAll, describe, test } from 'vitest';
import { Engine } from '../../src/gpu/engine.ts';
import { compare, type CaseOperand, type OperatorCase } from './against-ort.ts';

// Operators of onnxruntime's own domain, compared with onnxruntime on the CPU.

const float = (...shape: number[]): CaseOperand => ({ shape });
const weight = (...shape: number[]): CaseOperand => ({ shape, weight: true });
const ints = (dtype: 'int32' | 'int64', shape: number[], data: number[]): CaseOperand => ({
  shape,
  dtype,
  data,
});
const bytes = (dtype: 'uint8' | 'int8', shape: number[], seed: number): CaseOperand => {
  const count = shape.reduce((size, dim) => size * dim, 1);
  const low = dtype === 'int8' ? 128 : 0;
  return {
    shape,
    dtype,
    data: Array.from({ length: count }, (_, i) => ((i * 89 + seed * 53) % 256) - low),
    weight: true,
  };
};

const normalization: OperatorCase[] = [
  {
    name: 'all outputs',
    op: 'SkipLayerNormalization',
    operands: [float(2, 3, 8), float(2, 3, 8), float(8), float(8), float(8)],
    outputs: ['float32', undefined, undefined, 'float32'],
    attributes: { epsilon: { float: 1e-5 } },
  },
  {
    name: 'skip broadcasts, no beta, no bias',
    op: 'SkipLayerNormalization',
    operands: [float(2, 3, 12), float(3, 12), float(12)],
    outputs: ['float32'],
  },
  {
    name: 'with a bias',
    op: 'SkipSimplifiedLayerNormalization',
    operands: [float(2, 5, 8), float(2, 5, 8), float(8), float(8)],
    outputs: ['float32', undefined, undefined, 'float32'],
    attributes: { epsilon: { float: 1e-6 } },
  },
  {
    name: 'segments and a mask',
    op: 'EmbedLayerNormalization',
    operands: [
      ints('int32', [2, 3], [1, 4, 0, 2, 2, 5]),
      ints('int32', [2, 3], [0, 1, 1, 0, 0, 1]),
      weight(6, 8),
      weight(4, 8),
      weight(2, 8),
      weight(8),
      weight(8),
      ints('int32', [2, 3], [1, 1, 0, 1, 1, 1]),
    ],
    outputs: ['float32', 'int32'],
  },
];

const activations: OperatorCase[] = [
  { name: 'default alpha', op: 'QuickGelu', operands: [float(3, 7)] },
  { name: 'alpha 1', op: 'QuickGelu', operands: [float(3, 7)], attributes: { alpha: { float: 1 } } },
  { name: 'alpha 0.7', op: 'QuickGelu', operands: [float(3, 7)], attributes: { alpha: { float: 0.7 } } },
  { name: 'exact', op: 'Gelu', operands: [float(3, 7)] },
  { name: 'bias', op: 'BiasGelu', operands: [float(2, 3, 8), float(8)] },
  { name: 'bias', op: 'FastGelu', operands: [float(2, 3, 8), float(8)] },
  { name: 'no bias', op: 'FastGelu', operands: [float(2, 3, 8)] },
];

const linear: OperatorCase[] = [
  {
    name: 'alpha, both transposed',
    op: 'FusedMatMul',
    operands: [float(2, 4, 3), float(5, 4)],
    attributes: { transA: { int: 1 }, transB: { int: 1 }, alpha: { float: 0.5 } },
  },
  {
    name: 'batches transposed',
    op: 'FusedMatMul',
    operands: [float(3, 2, 4), float(4, 2, 5)],
    attributes: { transBatchA: { int: 1 }, transBatchB: { int: 1 } },
  },
  {
    name: 'leaky',
    op: 'FusedGemm',
    operands: [float(3, 4), float(5, 4), float(5)],
    attributes: {
      transB: { int: 1 },
      alpha: { float: 2 },
      beta: { float: 0.5 },
      activation: { string: 'LeakyRelu' },
      activation_alpha: { float: 0.3 },
    },
  },
  {
    name: 'sum and relu',
    op: 'FusedConv',
    operands: [float(1, 4, 6, 5), weight(8, 4, 3, 3), weight(8), float(1, 8, 6, 5)],
    attributes: { pads: { ints: [1, 1, 1, 1] }, activation: { string: 'Relu' } },
  },
  {
    name: 'clip',
    op: 'FusedConv',
    operands: [float(1, 4, 6, 5), weight(8, 4, 3, 3), weight(8)],
    attributes: {
      strides: { ints: [2, 2] },
      activation: { string: 'Clip' },
      activation_params: { floats: [-0.2, 0.3] },
    },
  },
  {
    name: 'halves',
    op: 'BiasSplitGelu',
    operands: [float(1, 3, 8), float(8)],
    reference: [
      { op: 'Add', inputs: ['x0', 'x1'], outputs: ['sum'] },
      {
        op: 'Split',
        inputs: ['sum'],
        outputs: ['left', 'right'],
        attributes: { axis: { int: 2 }, num_outputs: { int: 2 } },
      },
      { op: 'Gelu', inputs: ['right'], outputs: ['gate'] },
      { op: 'Mul', inputs: ['left', 'gate'], outputs: ['y0'] },
    ],
  },
  {
    name: 'groups, strides',
    op: 'NhwcConv',
    operands: [float(1, 6, 5, 8), weight(4, 3, 3, 4), weight(4)],
    attributes: { group: { int: 2 }, strides: { ints: [2, 1] }, pads: { ints: [1, 0, 1, 2] } },
    reference: [
      { op: 'Transpose', inputs: ['x0'], outputs: ['x'], attributes: { perm: { ints: [0, 3, 1, 2] } } },
      { op: 'Transpose', inputs: ['x1'], outputs: ['w'], attributes: { perm: { ints: [0, 3, 1, 2] } } },
      {
        op: 'Conv',
        inputs: ['x', 'w', 'x2'],
        outputs: ['y'],
        attributes: { group: { int: 2 }, strides: { ints: [2, 1] }, pads: { ints: [1, 0, 1, 2] } },
      },
      { op: 'Transpose', inputs: ['y'], outputs: ['y0'], attributes: { perm: { ints: [0, 2, 3, 1] } } },
    ],
  },
];

/** GroupNorm of `sum` [N, H, W, C] with SiLU, in ONNX's operators. */
const groupNormOf = (sum: string, silu: boolean): OperatorCase['reference'] => [
  { op: 'Transpose', inputs: [sum], outputs: ['first'], attributes: { perm: { ints: [0, 3, 1, 2] } } },
  {
    op: 'GroupNormalization',
    inputs: ['first', 'x1', 'x2'],
    outputs: ['normal'],
    attributes: { num_groups: { int: 2 }, epsilon: { float: 1e-5 } },
  },
  { op: 'Sigmoid', inputs: ['normal'], outputs: ['sigmoid'] },
  { op: silu ? 'Mul' : 'Max', inputs: silu ? ['normal', 'sigmoid'] : ['normal'], outputs: ['active'] },
  { op: 'Transpose', inputs: ['active'], outputs: ['y0'], attributes: { perm: { ints: [0, 2, 3, 1] } } },
];

const groups: OperatorCase[] = [
  {
    name: 'SiLU, channels last',
    op: 'GroupNorm',
    operands: [float(2, 3, 5, 8), weight(8), weight(8)],
    attributes: { groups: { int: 2 }, epsilon: { float: 1e-5 }, activation: { int: 1 } },
    reference: groupNormOf('x0', true)!,
  },
  {
    name: 'no activation, channels last',
    op: 'GroupNorm',
    operands: [float(2, 3, 5, 8), weight(8), weight(8)],
    attributes: { groups: { int: 2 }, epsilon: { float: 1e-5 }, activation: { int: 0 } },
    reference: groupNormOf('x0', false)!,
  },
  {
    name: 'channels first',
    op: 'GroupNorm',
    operands: [float(2, 8, 3, 5), weight(8), weight(8)],
    attributes: { groups: { int: 2 }, channels_last: { int: 0 }, activation: { int: 0 } },
    reference: [
      {
        op: 'GroupNormalization',
        inputs: ['x0', 'x1', 'x2'],
        outputs: ['y0'],
        attributes: { num_groups: { int: 2 }, epsilon: { float: 1e-5 } },
      },
    ],
  },
  {
    name: 'skip by channel, bias',
    op: 'SkipGroupNorm',
    operands: [float(2, 3, 5, 8), weight(8), weight(8), float(2, 1, 1, 8), weight(8)],
    outputs: ['float32', 'float32'],
    attributes: { groups: { int: 2 }, epsilon: { float: 1e-5 }, activation: { int: 1 } },
    reference: [{ op: 'Sum', inputs: ['x0', 'x3', 'x4'], outputs: ['y1'] }, ...groupNormOf('y1', true)!],
  },
];

const heads = { num_heads: { int: 2 } };
const attention: OperatorCase[] = [
  {
    name: 'separate',
    op: 'MultiHeadAttention',
    operands: [float(2, 3, 16), float(2, 5, 16), float(2, 5, 24)],
    attributes: heads,
  },
  {
    name: 'bias and scale',
    op: 'MultiHeadAttention',
    operands: [float(2, 3, 16), float(2, 5, 16), float(2, 5, 24), weight(56)],
    attributes: { ...heads, scale: { float: 0.3 } },
  },
  {
    name: 'padding by token',
    op: 'MultiHeadAttention',
    operands: [
      float(2, 3, 16),
      float(2, 4, 16),
      float(2, 4, 16),
      undefined,
      ints('int32', [2, 4], [1, 1, 0, 1, 1, 0, 1, 0]),
    ],
    attributes: heads,
  },
  {
    name: 'padding by length',
    op: 'MultiHeadAttention',
    operands: [float(2, 3, 16), float(2, 4, 16), float(2, 4, 16), undefined, ints('int32', [2], [3, 2])],
    attributes: heads,
  },
  {
    name: 'attention bias, causal',
    op: 'MultiHeadAttention',
    operands: [float(2, 4, 16), float(2, 4, 16), float(2, 4, 16), undefined, undefined, float(1, 2, 4, 4)],
    attributes: { ...heads, unidirectional: { int: 1 } },
  },
  {
    name: 'causal',
    op: 'MultiHeadAttention',
    operands: [float(2, 4, 16), float(2, 4, 16), float(2, 4, 16)],
    attributes: { ...heads, unidirectional: { int: 1 } },
  },
  {
    name: 'past and present',
    op: 'MultiHeadAttention',
    operands: [
      ...[float(2, 3, 16), float(2, 3, 16), float(2, 3, 16), undefined, undefined, undefined],
      ...[float(2, 2, 2, 8), float(2, 2, 2, 8)],
    ],
    attributes: heads,
    outputs: ['float32', 'float32', 'float32'],
  },
  {
    name: 'keys by head',
    op: 'MultiHeadAttention',
    operands: [float(2, 3, 16), float(2, 2, 5, 8), float(2, 2, 5, 8)],
    attributes: heads,
  },
  {
    name: 'plain',
    op: 'Attention',
    operands: [float(2, 3, 12), weight(12, 48), weight(48)],
    attributes: heads,
  },
  {
    name: 'causal, mask by token',
    op: 'Attention',
    operands: [float(2, 3, 12), weight(12, 48), weight(48), ints('int32', [2, 3], [1, 1, 1, 0, 1, 1])],
    attributes: { ...heads, unidirectional: { int: 1 } },
  },
  {
    name: 'past, other value width',
    op: 'Attention',
    operands: [float(2, 3, 12), weight(12, 48), weight(48), undefined, float(2, 2, 2, 4, 8)],
    attributes: heads,
    outputs: ['float32', 'float32'],
  },
  {
    name: 'prompt',
    op: 'GroupQueryAttention',
    operands: [
      ...[float(1, 4, 32), float(1, 4, 16), float(1, 4, 16), float(1, 2, 0, 8), float(1, 2, 0, 8)],
      ...[ints('int32', [1], [3]), ints('int32', [1], [4])],
    ],
    attributes: { num_heads: { int: 4 }, kv_num_heads: { int: 2 } },
    outputs: ['float32', 'float32', 'float32'],
  },
  {
    name: 'prompt, rotary',
    op: 'GroupQueryAttention',
    operands: [
      ...[float(1, 4, 64), float(1, 4, 32), float(1, 4, 32), float(1, 2, 0, 16), float(1, 2, 0, 16)],
      ...[ints('int32', [1], [3]), ints('int32', [1], [4]), weight(6, 8), weight(6, 8)],
    ],
    attributes: { num_heads: { int: 4 }, kv_num_heads: { int: 2 }, do_rotary: { int: 1 } },
    outputs: ['float32', 'float32', 'float32'],
  },
  {
    name: 'by position',
    op: 'RotaryEmbedding',
    operands: [float(2, 3, 32), ints('int64', [2, 3], [0, 1, 2, 3, 2, 1]), weight(5, 8), weight(5, 8)],
  },
  {
    name: 'from a start, interleaved',
    op: 'RotaryEmbedding',
    operands: [float(2, 2, 3, 16), ints('int64', [1], [2]), weight(5, 8), weight(5, 8)],
    attributes: { interleaved: { int: 1 } },
  },
];

const nBits = (bits: number, k: number, n: number, block: number): Record<string, { int: number }> => ({
  ...{ K: { int: k }, N: { int: n }, bits: { int: bits }, block_size: { int: block } },
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
      ...[bytes('uint8', [3, 8], 1), bytes('int8', [8, 4], 2), weight(1), weight(4)],
      ...[bytes('uint8', [1], 3), bytes('int8', [4], 4), weight(4)],
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
      ...[input(bytes('uint8', [], 3)), bytes('uint8', [], 4)],
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
      ...[input(bytes('uint8', [], 3)), bytes('uint8', [], 4)],
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

const suites = { normalization, groups, activations, linear, attention, quantized, integers };
for (const [suite, cases] of Object.entries(suites)) {
  describe(suite, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await Engine.create({ precision: 'f32' });
    });
    afterAll(() => engine.dispose());
    for (const item of cases) test(`${item.op}: ${item.name}`, () => compare(engine, item));
  });
}
