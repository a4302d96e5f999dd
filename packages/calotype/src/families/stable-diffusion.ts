import type { Tensor } from '@calotype/core';
import { OptionError } from '../errors.ts';
import type { PromptOptions } from '../pipelines/options.ts';
import type { Conditioning } from '../stages/conditioning.ts';
import { besideEachOther, clipEmbeddings, promptChunks, twoClips } from './clip.ts';
import { Making, branchRows, needsText, numberRows, promptTexts, Scratch } from './embeddings.ts';
import {
  classifierFree,
  clipTokens,
  encoderOf,
  takes,
  type EncodeContext,
  type EncodeRequest,
  type Family,
  type GuidanceChoice,
} from './family.ts';

const unet = { sample: 'sample', patch: 1, timestepScale: 1 };

/** Stable Diffusion 1.x, 2.x, Turbo and LCM: one CLIP encoder, a UNet. */
export const stableDiffusion: Family = {
  name: 'stable-diffusion',
  layout: unet,
  defaults: { numInferenceSteps: 25, guidanceScale: 7.5 },
  defaultSize: 512,
  guidance: unetGuidance,
  tokens: clipTokens,
  async encode(context, request) {
    using scratch = new Scratch();
    const given = ['negativePromptEmbeds', 'promptEmbeds'] as const;
    let hidden: Tensor | undefined;
    if (needsText(request, given)) {
      const prompts = promptTexts(request).map(({ first }) => first);
      const encoder = encoderOf(context, 'text_encoder');
      const wanted = { hidden: 'last', pooled: false } as const;
      const chunked = promptChunks(encoder, prompts, request.options);
      ({ hidden } = await clipEmbeddings(context, request, encoder, chunked, wanted, scratch));
    }
    using rows = new Making();
    rows.add('encoder_hidden_states', branchRows(context, request, hidden, given, scratch));
    return unetConditioning(context, request, rows);
  },
};

/** SDXL and its refiner: two CLIP encoders, pooled embeddings, and numbers that tell about the picture. */
export const stableDiffusionXl: Family = {
  name: 'stable-diffusion-xl',
  layout: unet,
  defaults: { numInferenceSteps: 30, guidanceScale: 5 },
  defaultSize: 1024,
  guidance: unetGuidance,
  tokens: clipTokens,
  async encode(context, request) {
    using scratch = new Scratch();
    const given = ['negativePromptEmbeds', 'promptEmbeds'] as const;
    const givenPooled = ['negativePooledPromptEmbeds', 'pooledPromptEmbeds'] as const;
    let hidden: Tensor | undefined;
    let pooled: Tensor | undefined;
    if (needsText(request, given) || needsText(request, givenPooled)) {
      const texts = promptTexts(request);
      if (context.encoders.has('text_encoder')) {
        const { first, second } = await twoClips(context, request, texts, scratch);
        hidden = await besideEachOther(context, [first.hidden, second.hidden], scratch);
        pooled = second.pooled;
      } else {
        const prompts = texts.map(({ second }) => second);
        const encoder = encoderOf(context, 'text_encoder_2');
        const wanted = { hidden: 'penultimate', pooled: true } as const;
        const chunked = promptChunks(encoder, prompts, request.options);
        ({ hidden, pooled } = await clipEmbeddings(context, request, encoder, chunked, wanted, scratch));
      }
      if (emptyIsZero(context, request)) clearFirstRow(context, [hidden, pooled!]);
    }
    using rows = new Making();
    rows.add('encoder_hidden_states', branchRows(context, request, hidden, given, scratch));
    rows.add('text_embeds', branchRows(context, request, pooled, givenPooled, scratch));
    rows.add('time_ids', numberRows(context, request, timeIds(context, request), 'time ids'));
    return unetConditioning(context, request, rows);
  },
};

/** Guidance of UNets: models with a guidance embedding get the scale, all others run twice. */
function unetGuidance(context: EncodeContext, { guidanceScale }: PromptOptions): GuidanceChoice {
  if (takes(context.denoiser, 'timestep_cond')) {
    return { scale: undefined, embedded: guidanceScale ?? 8.5 };
  }
  return { ...classifierFree(guidanceScale), embedded: undefined };
}

function unetConditioning(context: EncodeContext, request: EncodeRequest, rows: Making): Conditioning {
  const { guidance, shape } = request;
  if (guidance.embedded !== undefined) {
    const width = context.denoiser.inputs.find(({ name }) => name === 'timestep_cond')?.shape?.[1];
    const dims =
      typeof width === 'number' ? width : Number(context.facts.denoiser['time_cond_proj_dim'] ?? 256);
    const embedding = [guidanceEmbedding(guidance.embedded, dims)];
    rows.add('timestep_cond', numberRows(context, request, embedding, 'guidance'));
  }
  return { images: shape[0]!, branches: guidance.scale === undefined ? 1 : 2, rows: rows.done(), shared: {} };
}

/** Sinusoidal embedding of a guidance scale, as LCMs are taught it (Luo et al., arXiv 2310.04378). */
export function guidanceEmbedding(scale: number, dims: number): number[] {
  const half = Math.floor(dims / 2);
  const angles = Array.from(
    { length: half },
    (_, i) => (scale - 1) * 1000 * Math.exp((-Math.log(10000) * i) / (half - 1)),
  );
  const values = [...angles.map(Math.sin), ...angles.map(Math.cos)];
  return dims % 2 === 1 ? [...values, 0] : values;
}

/** Whether no negative prompt means zeros, as SDXL was trained, and not the embedding of an empty one. */
function emptyIsZero({ facts }: EncodeContext, { options, guidance }: EncodeRequest): boolean {
  const forced = facts.index['force_zeros_for_empty_prompt'] ?? true;
  return guidance.scale !== undefined && forced === true && options.negativePrompt === undefined;
}

/** Sets the first of two rows to zero. */
function clearFirstRow({ engine }: EncodeContext, tensors: readonly Tensor[]): void {
  const encoder = engine.device.createCommandEncoder({ label: 'no prompt' });
  for (const { shape, gpu } of tensors) {
    const bytes = shape.slice(1).reduce((product, dim) => product * dim, 4);
    encoder.clearBuffer(gpu!.buffer, 0, bytes);
  }
  engine.device.queue.submit([encoder.finish()]);
}

/** SDXL's micro-conditioning (Podell et al., arXiv 2307.01952, section 2.2), a row for each branch. */
function timeIds(context: EncodeContext, { options, guidance, width, height }: EncodeRequest): number[][] {
  const size = [height, width] as const;
  const original = options.originalSize ?? size;
  const crops = options.cropsCoordsTopLeft ?? [0, 0];
  const target = options.targetSize ?? size;
  const count = context.denoiser.inputs.find(({ name }) => name === 'time_ids')?.shape?.[1];
  const isRefiner = count === 5 || context.facts.index['requires_aesthetics_score'] === true;
  const positive = isRefiner
    ? [...original, ...crops, options.aestheticScore ?? 6]
    : [...original, ...crops, ...target];
  if (typeof count === 'number' && count !== positive.length) {
    throw new OptionError('model', `its UNet takes ${count} time ids, and SDXL has 6, its refiner 5.`);
  }
  if (guidance.scale === undefined) return [positive];
  const negativeOriginal = options.negativeOriginalSize ?? original;
  const negativeCrops = options.negativeCropsCoordsTopLeft ?? crops;
  const negative = isRefiner
    ? [...negativeOriginal, ...negativeCrops, options.negativeAestheticScore ?? 2.5]
    : [...negativeOriginal, ...negativeCrops, ...(options.negativeTargetSize ?? target)];
  return [negative, positive];
}
