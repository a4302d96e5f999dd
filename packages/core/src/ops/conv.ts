import { call, input } from '../graph/expr.ts';
import type { Node } from '../graph/graph.ts';
import { convolution } from '../kernels/conv/convolution.ts';
import type { EpilogueViews } from '../kernels/elementwise/epilogue.ts';
import { before } from '../kernels/gemm/epilogue.ts';
import { wantsMoments } from '../kernels/group-norm/produced.ts';
import type { Lowering } from '../plan/lowering.ts';
import { channelsLast } from '../plan/view.ts';
import { isFloat } from '../tensor/dtype.ts';
import { convolutionOf, transposedConvolutionOf, type Convolution } from './convolution-shape.ts';
import type { OpDefinition, OpTable, TensorType } from './op.ts';
import { hasOperand, operand } from './operands.ts';

function typeOf(node: Node, { batch, outputChannels, axes }: Convolution): TensorType[] {
  return [
    { dtype: operand(node, 0).dtype, shape: [batch, outputChannels, ...axes.map(({ output }) => output)] },
  ];
}

function refuse(node: Node): string | undefined {
  const { dtype } = operand(node, 0);
  return isFloat(dtype) ? undefined : `convolves ${dtype}; kernels exist for floating-point types`;
}

/** The bias, then what was fused. */
function epilogueOf(node: Node, lowering: Lowering): EpilogueViews | undefined {
  const fused = lowering.epilogue(node);
  if (!hasOperand(node, 2)) return fused;
  const bias = lowering.view(operand(node, 2));
  const spatial = operand(node, 0).shape.length - 2;
  const perChannel = {
    ...bias,
    shape: [bias.shape[0]!, ...Array<number>(spatial).fill(1)],
    strides: [bias.strides[0]!, ...Array<number>(spatial).fill(0)],
  };
  return before(call('add', [input(0), input(1)]), [perChannel], fused);
}

function lower(
  node: Node,
  lowering: Lowering,
  sizes: Convolution,
  direction: 'forward' | 'transposed',
): void {
  const output = node.outputs[0]!;
  const view = lowering.allocate(output, { order: channelsLast(output.shape.length) });
  const groups = lowering.normalGroups(output);
  convolution(lowering, {
    ...sizes,
    direction,
    input: lowering.view(operand(node, 0)),
    weight: lowering.view(operand(node, 1)),
    output: view,
    epilogue: epilogueOf(node, lowering),
    normalized: groups !== undefined && wantsMoments(lowering, view, groups),
  });
}

/**
 * Own attribute beside ONNX's: `upsample` 2 doubles the spatial axes by nearest neighbour first (a folded Resize).
 */
const conv: OpDefinition = {
  acceptsEpilogue: true,
  infer: (node) => typeOf(node, convolutionOf(node)),
  refuse,
  lower: (node, lowering) => lower(node, lowering, convolutionOf(node), 'forward'),
};

const convTranspose: OpDefinition = {
  acceptsEpilogue: true,
  infer: (node) => typeOf(node, transposedConvolutionOf(node)),
  refuse,
  lower: (node, lowering) => lower(node, lowering, transposedConvolutionOf(node), 'transposed'),
};

export const convOps: OpTable = { Conv: conv, ConvTranspose: convTranspose };
