import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { channelsLast, reshapeView } from '../../plan/view.ts';
import type { EpilogueViews } from '../elementwise/epilogue.ts';
import { gemm } from '../gemm/gemm.ts';
import type { ConvolutionAxis, ConvolutionSource, DenseSource, WeightSource } from '../gemm/problem.ts';
import { depthwiseKernel } from './depthwise.ts';
import { groupedKernel } from './grouped.ts';
import { isUpsampled, upsampledConvolution } from './upsampled.ts';

/** A convolution over views. The output is dense and channels-last. */
export interface ConvolutionProblem {
  direction: 'forward' | 'transposed';
  groups: number;
  batch: number;
  inputChannels: number;
  outputChannels: number;
  axes: readonly ConvolutionAxis[];
  /** [N, C, …spatial] */
  input: TensorView;
  /** [O, C / groups, …kernel], or [C, O / groups, …kernel] for `transposed`. */
  weight: TensorView;
  output: TensorView;
  epilogue: EpilogueViews | undefined;
  /** See `GemmProblem`. */
  normalized: boolean;
}

/** Up to this many channels an image is read where it lies: copying it to channels-last would cost more. */
const GATHERED_CHANNELS = 16;

/** Emits a convolution: as implicit GEMM wherever groups are wide enough, else by a direct kernel. */
export function convolution(lowering: Lowering, problem: ConvolutionProblem): void {
  const { groups, inputChannels, outputChannels, axes, batch, weight, output, direction } = problem;
  const input = readable(lowering, problem.input);
  const perGroup = { input: inputChannels / groups, output: outputChannels / groups };
  if (groups > 1 && perGroup.input === 1 && perGroup.output === 1 && outputChannels % 4 === 0) {
    depthwiseKernel(lowering, { ...problem, input });
    return;
  }
  if (groups > 1 && perGroup.output % 4 !== 0) {
    lowering.dispatch(groupedKernel({ ...problem, input }));
    return;
  }
  if (isUpsampled(lowering, problem)) {
    upsampledConvolution(lowering, { ...problem, input });
    return;
  }
  const taps = axes.map(({ kernel }, d) => ({ size: kernel, stride: weight.strides[2 + d]! }));
  const [first, second] = [weight.strides[0]!, weight.strides[1]!];
  const forward = direction === 'forward';
  const b: WeightSource = {
    kind: 'weight',
    view: weight,
    groups,
    groupStride: first * (forward ? perGroup.output : perGroup.input),
    columnStride: forward ? first : second,
    depthAxes: [...taps, { size: perGroup.input, stride: forward ? second : first }],
  };
  const rows = batch * axes.reduce((product, axis) => product * axis.output, 1);
  gemm(lowering, {
    name: forward ? 'conv' : 'conv_transpose',
    rows,
    columns: perGroup.output,
    depth: perGroup.input * axes.reduce((product, axis) => product * axis.kernel, 1),
    a: pointwise({ ...problem, input }) ?? imageSource({ ...problem, input }),
    b,
    batch: groups > 1 ? [groups] : [],
    output: { view: output, pitch: outputChannels, batchStride: perGroup.output },
    epilogue: problem.epilogue,
    normalized: problem.normalized,
  });
}

/** The image with contiguous channels, or as it is where it has few. */
function readable(lowering: Lowering, view: TensorView): TensorView {
  const channels = view.shape[1]!;
  if (view.strides[1] === 1 || channels <= GATHERED_CHANNELS) return view;
  return lowering.materialize(view, { order: channelsLast(view.shape.length) });
}

function imageSource({
  input,
  inputChannels,
  groups,
  axes,
  direction,
}: ConvolutionProblem): ConvolutionSource {
  const channels = inputChannels / groups;
  return {
    kind: 'convolution',
    view: input,
    channels,
    groupStride: channels * input.strides[1]!,
    axes,
    direction,
  };
}

/** A 1x1 convolution is a product over the pixels, where these follow each other in memory. */
function pointwise({
  input,
  axes,
  inputChannels,
  groups,
  batch,
}: ConvolutionProblem): DenseSource | undefined {
  const plain = axes.every(
    (axis) => axis.kernel === 1 && axis.stride === 1 && axis.pad === 0 && axis.upsample === 1,
  );
  if (!plain || axes.some((axis) => axis.input !== axis.output) || input.strides[1] !== 1) return undefined;
  const pixels = batch * axes.reduce((product, axis) => product * axis.input, 1);
  const image = {
    ...input,
    shape: [batch, ...input.shape.slice(2)],
    strides: [input.strides[0]!, ...input.strides.slice(2)],
  };
  const flat = reshapeView(image, [pixels]);
  if (!flat) return undefined;
  const channels = inputChannels / groups;
  return {
    kind: 'dense',
    view: input,
    rowStride: flat.strides[0]!,
    batchStrides: groups > 1 ? [channels] : [],
  };
}
