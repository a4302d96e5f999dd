import { compareAll, float, ints, weight, type OperatorCase } from './against-ort.ts';

// Operators of onnxruntime's own domain, compared with onnxruntime on the CPU.

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

compareAll('normalization', normalization);
compareAll('groups', groups);
compareAll('activations', activations);
compareAll('linear', linear);
