import { compareAll, float, ints, weight, type OperatorCase } from './against-ort.ts';

// Operators of onnxruntime's own domain, compared with onnxruntime on the CPU.

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
      float(2, 3, 16),
      float(2, 3, 16),
      float(2, 3, 16),
      undefined,
      undefined,
      undefined,
      float(2, 2, 2, 8),
      float(2, 2, 2, 8),
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
      float(1, 4, 32),
      float(1, 4, 16),
      float(1, 4, 16),
      float(1, 2, 0, 8),
      float(1, 2, 0, 8),
      ints('int32', [1], [3]),
      ints('int32', [1], [4]),
    ],
    attributes: { num_heads: { int: 4 }, kv_num_heads: { int: 2 } },
    outputs: ['float32', 'float32', 'float32'],
  },
  {
    name: 'prompt, rotary',
    op: 'GroupQueryAttention',
    operands: [
      float(1, 4, 64),
      float(1, 4, 32),
      float(1, 4, 32),
      float(1, 2, 0, 16),
      float(1, 2, 0, 16),
      ints('int32', [1], [3]),
      ints('int32', [1], [4]),
      weight(6, 8),
      weight(6, 8),
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

compareAll('attention', attention);
