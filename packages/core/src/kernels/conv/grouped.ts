import type { DispatchSpec } from '../../plan/lowering.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import type { ConvolutionProblem } from './convolution.ts';
import source from './grouped.wgsl';
import { tapCode } from './taps.ts';

const WORKGROUP = 64;

/** The direct convolution for groups with few outputs. Correct for everything, tuned for nothing. */
export function groupedKernel(problem: ConvolutionProblem): DispatchSpec {
  const { input, output, axes, weight, groups, direction } = problem;
  const [inputs, outputs] = [problem.inputChannels / groups, problem.outputChannels / groups];
  const taps = tapCode(axes, input, direction);
  const epilogue = epilogueCode(problem.epilogue, output);
  const elements = sizeOf(output.shape);
  const [first, second] = [weight.strides[0]!, weight.strides[1]!];
  const forward = direction === 'forward';
  const terms: string[] = [];
  for (let d = axes.length - 1; d >= 0; d--) {
    terms.push(
      `at += (rest % ${axes[d]!.kernel}u) * ${weight.strides[2 + d]!}u; rest /= ${axes[d]!.kernel}u;`,
    );
  }
  return {
    name: 'conv_grouped',
    body: source,
    inputs: { X: input, W: weight, ...epilogue.inputs },
    outputs: { Y: output },
    constants: { WORKGROUP, TAPS: taps.taps, GROUP_INPUTS: inputs, GROUP_OUTPUTS: outputs },
    functions: [
      taps.functions,
      `fn weight_tap(tap: u32) -> u32 { var rest = tap; var at = 0u; ${terms.join(' ')} return at; }`,
      epilogue.functions,
    ].join('\n'),
    params: {
      elements: u32(elements),
      channels: u32(problem.outputChannels),
      x_offset: u32(input.offset),
      x_channel: u32(input.strides[1]!),
      w_offset: u32(weight.offset),
      w_group: u32(first * (forward ? outputs : inputs)),
      w_output: u32(forward ? first : second),
      w_input: u32(forward ? second : first),
      ...taps.params,
      ...epilogue.params,
    },
    workgroups: Math.ceil(elements / (4 * WORKGROUP)),
    work: { flops: 2 * elements * taps.taps * inputs },
  };
}
