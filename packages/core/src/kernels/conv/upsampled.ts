import type { Lowering } from '../../plan/lowering.ts';
import { gemm } from '../gemm/gemm.ts';
import { packedStorage } from '../gemm/pack.ts';
import { u32 } from '../shader.ts';
import type { ConvolutionProblem } from './convolution.ts';
import source from './upsampled_weight.wgsl';

const WORKGROUP = 256;

/** Summed kernels take 16 ninths of the memory: of small images that is much for what it saves. */
const LEAST_PIXELS = 256;

/** Whether `upsampledConvolution` computes it. */
export function isUpsampled(lowering: Lowering, problem: ConvolutionProblem): boolean {
  const { direction, groups, axes, batch, weight, inputChannels, outputChannels } = problem;
  const { maxBufferSize, maxStorageBufferBindingSize } = lowering.capabilities.limits;
  return (
    direction === 'forward' &&
    groups === 1 &&
    axes.length === 2 &&
    axes.every(
      ({ kernel, stride, dilation, upsample, pad, input, output }) =>
        kernel === 3 && stride === 1 && dilation === 1 && upsample === 2 && pad === 1 && output === 2 * input,
    ) &&
    batch * axes[0]!.input * axes[1]!.input >= LEAST_PIXELS &&
    inputChannels % 4 === 0 &&
    outputChannels % 4 === 0 &&
    lowering.weights !== 'int8' &&
    lowering.weights !== 'int4' &&
    lowering.quantized(weight) === undefined &&
    // In f32, more than any storage takes.
    64 * inputChannels * outputChannels <= Math.min(maxBufferSize, maxStorageBufferBindingSize)
  );
}

/**
 * A 3x3 convolution of an image that was doubled by nearest neighbour, with 2.25 times fewer multiplications: each of the
 * four pixels that come of one sees only 2x2 pixels of the image before, by sums of the kernel's taps. Four convolutions
 * of 2x2, whose results interleave.
 */
export function upsampledConvolution(lowering: Lowering, problem: ConvolutionProblem): void {
  const { axes, batch, inputChannels, outputChannels, input, weight, output, epilogue, normalized } = problem;
  // A sum of halves is none any more.
  const storage = lowering.precision === 'f32' ? 'f32' : packedStorage(lowering, weight);
  const view = lowering.scratch('upsampled', [4, outputChannels, 2, 2, inputChannels], storage);
  const [columnStride, channelStride, tapRow, tapColumn] = weight.strides;
  const elements = 16 * outputChannels * inputChannels;
  lowering.dispatch({
    name: 'upsampled_weight',
    body: source,
    inputs: { W: weight },
    outputs: { Y: view },
    constants: { WORKGROUP },
    params: {
      elements: u32(elements),
      offset: u32(weight.offset),
      columns: u32(outputChannels),
      channels: u32(inputChannels),
      column_stride: u32(columnStride!),
      channel_stride: u32(channelStride!),
      tap_row: u32(tapRow!),
      tap_column: u32(tapColumn!),
    },
    workgroups: Math.ceil(elements / 4 / WORKGROUP),
  });
  const pixels = batch * axes[0]!.input * axes[1]!.input;
  const depth = 4 * inputChannels;
  gemm(lowering, {
    name: 'conv_upsampled',
    rows: pixels,
    columns: outputChannels,
    depth,
    a: {
      kind: 'convolution',
      view: input,
      channels: inputChannels,
      groupStride: 0,
      axes: axes.map((axis) => ({ ...axis, output: axis.input, kernel: 2, upsample: 1 })),
      direction: 'forward',
      phases: true,
    },
    b: {
      kind: 'weight',
      view,
      groups: 4,
      groupStride: outputChannels * depth,
      columnStride: depth,
      depthAxes: [
        { size: 4, stride: inputChannels },
        { size: inputChannels, stride: 1 },
      ],
    },
    batch: [4],
    output: {
      view: output,
      pitch: outputChannels,
      batchStride: pixels * outputChannels,
      interleaved: { squares: axes[1]!.input },
    },
    epilogue,
    normalized,
  });
}
