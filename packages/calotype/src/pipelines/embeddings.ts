import type { Tensor } from '@calotype/core';
import { OptionError } from '../errors.ts';
import type { DiffusionModel } from '../model/model.ts';
import { disposeConditioning } from '../stages/conditioning.ts';
import { StageKernels } from '../stages/kernels.ts';
import { bufferOf, emptyTensor, gatherRows, sizeOf } from '../stages/memory.ts';
import type { PromptOptions } from './options.ts';
import { resolveRequest } from './request.ts';

/** A prompt as the denoiser gets it, on the GPU: options of a generation, in place of the texts. The caller's to dispose. */
export interface PromptEmbeddings {
  /** [1, tokens, channels] */
  promptEmbeds: Tensor<'float32'>;
  /** With guidance. */
  negativePromptEmbeds?: Tensor<'float32'>;
  /** [1, channels], for the families that have them. */
  pooledPromptEmbeds?: Tensor<'float32'>;
  negativePooledPromptEmbeds?: Tensor<'float32'>;
}

export interface EncodePromptOptions extends PromptOptions {
  signal?: AbortSignal;
}

/** See `DiffusionPipeline.encodePrompt`. */
export async function encodePrompt(
  model: DiffusionModel,
  options: EncodePromptOptions,
): Promise<PromptEmbeddings> {
  const { defaultSize } = model.facts;
  const request = await resolveRequest(model, options, { width: defaultSize, height: defaultSize });
  const conditioning = await model.family.encode(model, {
    options,
    guidance: { scale: request.guidance?.scale, embedded: request.embeddedGuidance },
    shape: request.shape,
    width: request.width,
    height: request.height,
    signal: options.signal,
  });
  try {
    const { rows, branches } = conditioning;
    const row = (tensor: Tensor, branch: number): Tensor<'float32'> => {
      const range = { tensor, first: branch, count: 1 };
      return gatherRows(model.engine, [range], [1, ...tensor.shape.slice(1)], 'prompt') as Tensor<'float32'>;
    };
    const hidden = rows['encoder_hidden_states']!;
    const pooled = rows['text_embeds'] ?? rows['pooled_projections'];
    return {
      promptEmbeds: row(hidden, branches - 1),
      ...(branches === 2 && { negativePromptEmbeds: row(hidden, 0) }),
      ...(pooled && { pooledPromptEmbeds: row(pooled, branches - 1) }),
      ...(pooled && branches === 2 && { negativePooledPromptEmbeds: row(pooled, 0) }),
    };
  } finally {
    disposeConditioning(conditioning);
  }
}

/**
 * An embedding between two of equal shape, on their GPU: `a` for t = 0, `b` for t = 1. Values beyond lead past them.
 *
 * @param method `lerp` goes along the straight line; `slerp` turns from one direction into the other (Shoemake 1985), each
 *   row as one vector, and keeps the length: in the middle of a line embeddings get shorter
 * @throws OptionError for embeddings of different shapes or engines, or on the CPU
 */
export async function interpolateEmbeddings(
  a: Tensor<'float32'>,
  b: Tensor<'float32'>,
  t: number,
  method: 'lerp' | 'slerp' = 'slerp',
): Promise<Tensor<'float32'>> {
  const { gpu } = a;
  if (!gpu || gpu.engine !== b.gpu?.engine) {
    throw new OptionError('promptEmbeds', 'to interpolate have to lie on the GPU, both on one engine.');
  }
  if (a.shape.join() !== b.shape.join()) {
    throw new OptionError(
      'promptEmbeds',
      `[${a.shape.join(', ')}] and [${b.shape.join(', ')}] cannot be interpolated. Encode both prompts with as many windows.`,
    );
  }
  if (!Number.isFinite(t)) throw new OptionError('t', `expected a finite number, got ${t}.`);
  const { engine } = gpu;
  const kernels = new StageKernels(engine);
  const interpolate = await kernels.get('interpolate', { a: gpu.storage, b: b.gpu.storage });
  const result = emptyTensor(engine, a.shape, 'interpolated');
  const [rows, ...rest] = a.shape;
  interpolate(
    { a: bufferOf(a), b: bufferOf(b), y: bufferOf(result) },
    { elements: sizeOf(rest), t, spherical: method === 'slerp' ? 1 : 0 },
    rows!,
    true,
  );
  kernels.dispose();
  return result;
}
