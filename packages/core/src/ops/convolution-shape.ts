import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import type { ConvolutionAxis } from '../kernels/gemm/problem.ts';
import { formatShape, type Shape } from '../tensor/shape.ts';
import { describe, hasOperand, intAttribute, intsAttribute, operand, stringAttribute } from './operands.ts';

/** Sizes of a convolution after all its attributes have been read and checked. */
export interface Convolution {
  groups: number;
  batch: number;
  inputChannels: number;
  outputChannels: number;
  axes: ConvolutionAxis[];
}

/** Conv: x [N, C, …], w [O, C / groups, …], b [O]?. */
export function convolutionOf(node: Node): Convolution {
  const { x, w, groups, spatial } = common(node);
  const upsample = intAttribute(node, 'upsample', 1);
  if (upsample !== 1 && upsample !== 2) throw wrong(node, 'upsample to be 1 or 2', String(upsample));
  if (x[1] !== w[1]! * groups || w[0]! % groups !== 0) {
    throw wrong(node, `weights for ${x[1]} channels in ${groups} groups`, formatShape(w));
  }
  const pads = padsOf(node, spatial);
  const axes = Array.from({ length: spatial }, (_, d): ConvolutionAxis => {
    const { kernel, stride, dilation } = windowOf(node, w, d, spatial);
    const input = x[2 + d]!;
    const extent = (kernel - 1) * dilation + 1;
    const size = input * upsample;
    let [pad, after] = [pads[d]!, pads[d + spatial]!];
    const auto = stringAttribute(node, 'auto_pad', 'NOTSET');
    if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
      const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + extent - size);
      pad = auto === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2);
      after = total - pad;
    }
    const output = Math.floor((size + pad + after - extent) / stride) + 1;
    if (output < 0) throw wrong(node, `an input of at least ${extent - pad - after}`, formatShape(x));
    return { input, output, kernel, stride, dilation, pad, upsample };
  });
  return checked(node, { groups, batch: x[0]!, inputChannels: x[1], outputChannels: w[0]!, axes });
}

/** ConvTranspose: x [N, C, …], w [C, O / groups, …], b [O]?. */
export function transposedConvolutionOf(node: Node): Convolution {
  const { x, w, groups, spatial } = common(node);
  if (x[1] !== w[0] || x[1]! % groups !== 0) {
    throw wrong(node, `weights for ${x[1]} channels in ${groups} groups`, formatShape(w));
  }
  const pads = padsOf(node, spatial);
  const extra = listOf(node, 'output_padding', spatial, 0);
  const outputShape = intsAttribute(node, 'output_shape')?.slice(-spatial);
  const axes = Array.from({ length: spatial }, (_, d): ConvolutionAxis => {
    const { kernel, stride, dilation } = windowOf(node, w, d, spatial);
    const input = x[2 + d]!;
    const full = stride * (input - 1) + extra[d]! + (kernel - 1) * dilation + 1;
    const auto = stringAttribute(node, 'auto_pad', 'NOTSET');
    const same = auto === 'SAME_UPPER' || auto === 'SAME_LOWER';
    if (!outputShape && !same) {
      return {
        input,
        output: full - pads[d]! - pads[d + spatial]!,
        kernel,
        stride,
        dilation,
        pad: pads[d]!,
        upsample: 1,
      };
    }
    const output = outputShape?.[d] ?? input * stride;
    const total = Math.max(0, full - output);
    const pad = auto === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2);
    return {
      input,
      output,
      kernel,
      stride,
      dilation,
      pad: auto === 'SAME_LOWER' || same ? pad : Math.floor(total / 2),
      upsample: 1,
    };
  });
  return checked(node, { groups, batch: x[0]!, inputChannels: x[1]!, outputChannels: w[1]! * groups, axes });
}

function common(node: Node): { x: Shape; w: Shape; groups: number; spatial: number } {
  const [x, w] = [operand(node, 0).shape, operand(node, 1).shape];
  if (x.length < 3 || x.length > 5 || w.length !== x.length) {
    throw wrong(
      node,
      'an image of 1 to 3 dimensions and weights for it',
      `${formatShape(x)} and ${formatShape(w)}`,
    );
  }
  const groups = intAttribute(node, 'group', 1);
  if (groups < 1) throw wrong(node, 'group to be positive', String(groups));
  return { x, w, groups, spatial: x.length - 2 };
}

function checked(node: Node, convolution: Convolution): Convolution {
  const { outputChannels, axes } = convolution;
  if (hasOperand(node, 2) && operand(node, 2).shape.join() !== String(outputChannels)) {
    throw wrong(node, `a bias [${outputChannels}]`, formatShape(operand(node, 2).shape));
  }
  if (axes.some(({ output }) => output < 0)) throw wrong(node, 'an output', 'a negative size');
  return convolution;
}

function windowOf(
  node: Node,
  w: Shape,
  d: number,
  spatial: number,
): { kernel: number; stride: number; dilation: number } {
  const kernel = w[2 + d]!;
  const declared = intsAttribute(node, 'kernel_shape');
  if (declared && declared[d] !== kernel) {
    throw wrong(node, `weights for a kernel of ${formatShape(declared)}`, formatShape(w));
  }
  const [stride, dilation] = [
    listOf(node, 'strides', spatial, 1)[d]!,
    listOf(node, 'dilations', spatial, 1)[d]!,
  ];
  if (stride < 1 || dilation < 1)
    throw wrong(node, 'strides and dilations from 1', `${stride} and ${dilation}`);
  return { kernel, stride, dilation };
}

/** Before each axis, then after each. */
function padsOf(node: Node, spatial: number): number[] {
  const auto = stringAttribute(node, 'auto_pad', 'NOTSET');
  return auto === 'NOTSET' || auto === ''
    ? listOf(node, 'pads', 2 * spatial, 0)
    : new Array<number>(2 * spatial).fill(0);
}

function listOf(node: Node, name: string, length: number, missing: number): number[] {
  const list = intsAttribute(node, name) ?? new Array<number>(length).fill(missing);
  if (list.length !== length) throw wrong(node, `${length} ${name}`, formatShape(list));
  return list;
}

function wrong(node: Node, expected: string, actual: string): ShapeError {
  return new ShapeError(describe(node), { expected, actual });
}
