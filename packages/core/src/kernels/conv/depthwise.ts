import type { Lowering } from '../../plan/lowering.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import type { ConvolutionProblem } from './convolution.ts';
import source from './depthwise.wgsl';
import { tapCode } from './taps.ts';

const WORKGROUP = 128;

/** Emits a depthwise convolution (one input and one output channel a group), with channels in groups of four. */
export function depthwiseKernel(lowering: Lowering, problem: ConvolutionProblem): void {
  const { input, output, axes, outputChannels, weight, direction } = problem;
  const taps = tapCode(axes, input, direction);
  // [C, 1, …kernel] as [tap][channel]
  const spatial = axes.map((_, d) => 2 + d);
  const packed = lowering.materialize(weight, { order: [...spatial, 1, 0] });
  const epilogue = epilogueCode(problem.epilogue, output);
  const aligned =
    input.strides[1] === 1 &&
    [input.offset, input.strides[0]!, ...input.strides.slice(2)].every((stride) => stride % 4 === 0);
  const elements = sizeOf(output.shape);
  lowering.dispatch({
    name: 'conv_depthwise',
    body: source,
    inputs: { X: input, W: packed, ...epilogue.inputs },
    outputs: { Y: output },
    constants: { WORKGROUP, ALIGNED: aligned, TAPS: taps.taps },
    functions: `${taps.functions}\n${epilogue.functions}`,
    params: {
      elements: u32(elements),
      channels: u32(outputChannels),
      x_offset: u32(input.offset),
      x_channel: u32(input.strides[1]!),
      ...taps.params,
      ...epilogue.params,
    },
    workgroups: Math.ceil(elements / (4 * WORKGROUP)),
    work: { flops: 2 * elements * taps.taps },
  });
}
