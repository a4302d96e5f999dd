import type { Tensor } from '@calotype/core';
import type { Segment } from './batch.ts';
import type { DenoiseJob } from './denoise-job.ts';
import type { Launch } from './kernels.ts';
import { bufferOf, sizeOf } from './memory.ts';

/** Writes one job's rows of a model's input: its latents, scaled for the step, and any further channels. */
export function writeModelInput(
  launch: Launch<'model_input'>,
  { job, first, rows }: Segment,
  target: Tensor,
  options: { patch: number; extra: Tensor | undefined },
): void {
  const [images, channels, height, width] = job.shape as [number, number, number, number];
  const { extra, patch } = options;
  const rowElements = sizeOf(target.shape.slice(1));
  launch(
    {
      sample: job.state.sample,
      // Not read where there are no further channels.
      extra: extra ? bufferOf(extra) : job.state.sample,
      y: bufferOf(target),
    },
    {
      rows, images, channels, height, width, patchSize: patch,
      extraChannels: extra?.shape[1] ?? 0,
      extraImages: extra?.shape[0] ?? 1,
      yFirst: first * rowElements,
      scale: job.plan.steps[job.stepIndex]!.inputScale,
    }, // prettier-ignore
    rows * rowElements,
  );
}

/** Kernels that end a step. */
export interface FinishKernels {
  step: Launch<'sampler_step'>;
  factor: Launch<'guidance_factor'>;
  blend: Launch<'blend'>;
  /** Bound where nothing is written. */
  unused: GPUBuffer;
}

/** Guidance, the sampler's update and the kept region of one job, on its rows of the model's answer. */
export function finishStep(
  kernels: FinishKernels,
  { job, first, guided }: Segment,
  output: GPUBuffer,
  patch: number,
): void {
  const [, channels, height, width] = job.shape as [number, number, number, number];
  const { elements, images, plan, guidance } = job;
  const imageElements = elements / images;
  const without = first * imageElements;
  const withPrompt = guided ? without + elements : without;
  const rescale = guided ? (guidance?.rescale ?? 0) : 0;
  const { sample, next, history, nextHistory, coefficients, stride, drawn, factor } = job.state;
  if (rescale > 0) {
    kernels.factor(
      { output, factor: factor! },
      { images, imageElements, without, with_prompt: withPrompt, guidance: guidance!.scale, rescale },
      images,
      true,
    );
  }
  job.draw();
  kernels.step(
    {
      sample,
      output,
      next,
      // Bound in place of what this job does without; their weights are zero.
      factor: factor ?? coefficients,
      history: history ?? coefficients,
      noise: drawn ?? coefficients,
      plan: coefficients,
      next_history: nextHistory ?? kernels.unused,
    },
    {
      elements, without, channels, height, width, patchSize: patch, stride,
      slots: plan.historySlots,
      step: job.stepIndex,
      with_prompt: withPrompt,
      guided: guided ? 1 : 0,
      guidance: guidance?.scale ?? 1,
      rescaled: rescale > 0 ? 1 : 0,
    }, // prettier-ignore
    elements,
  );
  job.swapLatents();
  if (job.kept) putBack(kernels.blend, job);
  job.advance();
}

/** Puts the kept region back, at the noise level that the next step starts from. */
function putBack(launch: Launch<'blend'>, job: DenoiseJob): void {
  const { mask, known, noise } = job.kept!;
  const [, channels, height, width] = job.shape as [number, number, number, number];
  const level = job.plan.steps[job.stepIndex + 1]?.noised ?? { x0: 1, noise: 0 };
  launch(
    {
      x: job.state.sample,
      mask: bufferOf(mask),
      known: bufferOf(known),
      noise: bufferOf(noise),
      y: job.state.next,
    },
    {
      elements: job.elements,
      channels,
      plane: height * width,
      maskImages: mask.shape[0]!,
      knownElements: sizeOf(known.shape),
      x0: level.x0,
      noise: level.noise,
    },
    job.elements,
  );
  job.swapLatents();
}
