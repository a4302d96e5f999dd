import type { Tensor } from '@calotype/core';
import { parsePrompt, plainText } from '../prompt/index.ts';
import { encodeText, tokenRow } from '../stages/text-encoder.ts';
import { besideEachOther, twoClips } from './clip.ts';
import {
  branchRows,
  joinEmbeddings,
  Making,
  needsText,
  promptTexts,
  Scratch,
  type EmbeddingPart,
} from './embeddings.ts';
import { classifierFree, clipTokens, type EncodeContext, type EncodeRequest, type Family } from './family.ts';

/** Stable Diffusion 3 and 3.5: a transformer over latents, two CLIP encoders and, if it is there, T5. */
export const stableDiffusion3: Family = {
  name: 'stable-diffusion-3',
  layout: { sample: 'hidden_states', patch: 1, timestepScale: 1 },
  defaults: { numInferenceSteps: 28, guidanceScale: 7 },
  defaultSize: 1024,
  tokens: (context, options) => clipTokens(context) + (options.maxSequenceLength ?? 256),
  guidance: (_, { guidanceScale }) => ({ ...classifierFree(guidanceScale), embedded: undefined }),
  schedule: ({ facts, sampler, shape, options }) => {
    if (sampler.config['use_dynamic_shifting'] !== true || options.mu !== undefined) return options;
    const patch = Number(facts.denoiser['patch_size'] ?? 2);
    return { ...options, imageSeqLen: Math.floor(shape[2]! / patch) * Math.floor(shape[3]! / patch) };
  },
  async encode(context, request) {
    using scratch = new Scratch();
    const given = ['negativePromptEmbeds', 'promptEmbeds'] as const;
    const givenPooled = ['negativePooledPromptEmbeds', 'pooledPromptEmbeds'] as const;
    let hidden: Tensor | undefined;
    let pooled: Tensor | undefined;
    if (needsText(request, given) || needsText(request, givenPooled)) {
      ({ hidden, pooled } = await threeEncoders(context, request, scratch));
    }
    using rows = new Making();
    rows.add('encoder_hidden_states', branchRows(context, request, hidden, given, scratch));
    rows.add('pooled_projections', branchRows(context, request, pooled, givenPooled, scratch));
    return {
      images: request.shape[0]!,
      branches: request.guidance.scale === undefined ? 1 : 2,
      rows: rows.done(),
      shared: {},
    };
  },
};

/** CLIP's tokens, their channels filled up with zeros, then T5's: zeros too where there is no T5. */
async function threeEncoders(
  context: EncodeContext,
  request: EncodeRequest,
  scratch: Scratch,
): Promise<{ hidden: Tensor; pooled: Tensor }> {
  const texts = promptTexts(request);
  const { first, second } = await twoClips(context, request, texts, scratch);
  const t5Tokens = request.options.maxSequenceLength ?? 256;
  const t5 = context.encoders.get('text_encoder_3');
  const parts: EmbeddingPart[] = [
    { tensor: first.hidden },
    { tensor: second.hidden, channel: first.hidden.shape[2]! },
  ];
  const [prompts, clipTokens] = first.hidden.shape as [number, number, number];
  const clipChannels = first.hidden.shape[2]! + second.hidden.shape[2]!;
  let channels = jointChannels(context) ?? clipChannels;
  if (t5) {
    // T5 was never taught emphasis; it reads the words.
    const plain = (text: string): string =>
      request.options.emphasis === false ? text : plainText(parsePrompt(text));
    const rows = texts.map(({ third }) => tokenRow(t5.tokenizer, plain(third), t5Tokens));
    const output = 'last_hidden_state';
    const outputs = await encodeText(context.engine, context.kernels, t5, rows, [output], request.signal);
    const tensor = scratch.keepAll(outputs)[output]!;
    channels = tensor.shape[2]!;
    parts.push({ tensor, token: clipTokens });
  }
  const hidden = await joinEmbeddings(context, parts, [prompts, clipTokens + t5Tokens, channels]);
  return {
    hidden: scratch.keep(hidden),
    pooled: await besideEachOther(context, [first.pooled!, second.pooled!], scratch),
  };
}

/** Channels of the tokens that the transformer attends to. */
function jointChannels({ denoiser, facts }: EncodeContext): number | undefined {
  const declared = denoiser.inputs.find(({ name }) => name === 'encoder_hidden_states')?.shape?.[2];
  if (typeof declared === 'number') return declared;
  const configured = facts.denoiser['joint_attention_dim'];
  return typeof configured === 'number' ? configured : undefined;
}
