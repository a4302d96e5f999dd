import type { Tensor } from '@calotype/core';
import type { PromptOptions } from '../pipelines/options.ts';
import type { SamplerOptions } from '../samplers/index.ts';
import { encodeText, tokenRow } from '../stages/text-encoder.ts';
import { clipEmbeddings, promptChunks } from './clip.ts';
import { uploadTensor } from '../stages/memory.ts';
import { branchRows, Making, needsText, promptTexts, Scratch } from './embeddings.ts';
import {
  classifierFree,
  encoderOf,
  takes,
  type EncodeContext,
  type EncodeRequest,
  type Family,
  type ScheduleRequest,
} from './family.ts';
import { addPositions, tokenGrid } from './position-ids.ts';

const PATCH = 2;

/** FLUX.1: a transformer over packed latents, T5's hidden states, CLIP's pooled embedding. */
export const flux: Family = {
  name: 'flux',
  layout: { sample: 'hidden_states', patch: PATCH, timestepScale: 1 / 1000 },
  defaults: { numInferenceSteps: 28, guidanceScale: 3.5 },
  defaultSize: 1024,
  tokens: (_, { maxSequenceLength = 512 }) => maxSequenceLength,
  guidance: ({ denoiser }, { guidanceScale, trueCfgScale, ...negative }) => ({
    ...classifierFree(hasNegative(negative) ? trueCfgScale : undefined),
    embedded: takes(denoiser, 'guidance') ? (guidanceScale ?? 3.5) : undefined,
  }),
  schedule: (request) => {
    const [rows, columns] = tokenGrid(request.shape, PATCH);
    return { ...request.options, imageSeqLen: rows * columns, ...ownSigmas(request) };
  },
  async encode(context, request) {
    using scratch = new Scratch();
    const given = ['negativePromptEmbeds', 'promptEmbeds'] as const;
    const givenPooled = ['negativePooledPromptEmbeds', 'pooledPromptEmbeds'] as const;
    let hidden: Tensor | undefined;
    let pooled: Tensor | undefined;
    const texts = promptTexts(request);
    if (needsText(request, givenPooled)) {
      const prompts = texts.map(({ first }) => first);
      const encoder = encoderOf(context, 'text_encoder');
      const wanted = { hidden: 'last', pooled: true } as const;
      // T5 reads the whole prompt, and brackets as text; CLIP gives one embedding of its beginning.
      const plain = { ...request.options, emphasis: false, maxPromptChunks: 1 };
      const chunked = promptChunks(encoder, prompts, plain);
      ({ pooled } = await clipEmbeddings(context, request, encoder, chunked, wanted, scratch));
    }
    if (needsText(request, given)) {
      const encoder = encoderOf(context, 'text_encoder_2');
      const length = request.options.maxSequenceLength ?? 512;
      const rows = texts.map(({ second }) => tokenRow(encoder.tokenizer, second, length));
      const output = 'last_hidden_state';
      const outputs = await encodeText(
        context.engine,
        context.kernels,
        encoder,
        rows,
        [output],
        request.signal,
      );
      hidden = scratch.keepAll(outputs)[output]!;
    }
    using rows = new Making();
    using shared = new Making();
    const embeddings = rows.add(
      'encoder_hidden_states',
      branchRows(context, request, hidden, given, scratch),
    );
    rows.add('pooled_projections', branchRows(context, request, pooled, givenPooled, scratch));
    addGuidance(context, request, rows);
    const [height, width] = tokenGrid(request.shape, PATCH);
    const tokens = Array.from({ length: embeddings.shape[1]! }, () => [0, 0, 0]);
    const image = Array.from({ length: height * width }, (_, i) => [0, Math.floor(i / width), i % width]);
    addPositions(context, { img_ids: image, txt_ids: tokens }, embeddings.shape[0]!, { rows, shared });
    return {
      images: request.shape[0]!,
      branches: request.guidance.scale === undefined ? 1 : 2,
      rows: rows.done(),
      shared: shared.done(),
    };
  },
};

/** Whether anything says what to steer away from: without it, FLUX's second branch would be for nothing. */
function hasNegative(options: PromptOptions): boolean {
  return options.negativePrompt !== undefined || options.negativePromptEmbeds !== undefined;
}

/**
 * Levels from 1 down to 1 / steps, before the shift: what FLUX's pipelines ask the scheduler for that they come with.
 * Other samplers lay out their own.
 */
export function ownSigmas({ sampler, steps, options }: ScheduleRequest): Pick<SamplerOptions, 'sigmas'> {
  const isOwn = options.sigmas !== undefined || options.timesteps !== undefined;
  if (isOwn || sampler.className !== 'FlowMatchEulerDiscreteScheduler') return {};
  const last = 1 / steps;
  return {
    sigmas: Array.from({ length: steps }, (_, i) => (steps === 1 ? 1 : 1 + (i * (last - 1)) / (steps - 1))),
  };
}

/** Adds the scale that a model taught guidance gets, a number for each row. */
export function addGuidance({ engine }: EncodeContext, request: EncodeRequest, rows: Making): void {
  const { embedded, scale } = request.guidance;
  if (embedded === undefined) return;
  const count = request.shape[0]! * (scale === undefined ? 1 : 2);
  rows.add('guidance', uploadTensor(engine, [count], new Float32Array(count).fill(embedded), 'guidance'));
}
