import { Tensor } from '@calotype/core';
import { OptionError } from '../errors.ts';
import type { PromptOptions } from '../pipelines/options.ts';
import { chunkPrompts, type ChunkedPrompt } from '../prompt/index.ts';
import { bufferOf, emptyTensor, gatherRows, uploadTensor } from '../stages/memory.ts';
import { encodeText, hiddenStateNames, type TextEncoder } from '../stages/text-encoder.ts';
import { skippedOutput } from './clip-layers.ts';
import { joinEmbeddings, type PromptTexts, type Scratch } from './embeddings.ts';
import { encoderOf, type EncodeContext, type EncodeRequest } from './family.ts';

/** Prompts as a CLIP encoder sees them. */
export interface ClipEmbeddings {
  /** [prompts, tokens of all windows, channels] */
  hidden: Tensor<'float32'>;
  /** [prompts, channels], where asked for. */
  pooled: Tensor<'float32'> | undefined;
}

/** Cuts texts into an encoder's windows: `least` or more, equally many for all of them. */
export function promptChunks(
  { tokenizer }: TextEncoder,
  texts: readonly string[],
  { emphasis = true, maxPromptChunks = Infinity }: PromptOptions,
  least = 1,
): ChunkedPrompt[] {
  const isCount = maxPromptChunks === Infinity || Number.isInteger(maxPromptChunks);
  if (!isCount || maxPromptChunks < 1) {
    throw new OptionError('maxPromptChunks', `expected a whole number from 1 on, got ${maxPromptChunks}.`);
  }
  return chunkPrompts(tokenizer, texts, {
    weights: emphasis,
    maxChunks: maxPromptChunks,
    minChunks: least,
  });
}

/**
 * Encodes prompts with a CLIP text encoder: each window by itself, their hidden states one after the other. Weights of
 * tokens multiply their hidden states, after which every window gets its mean back (unless that is zero but for
 * rounding), as AUTOMATIC1111's web UI does it. The
 * pooled embedding is the first window's, without weights.
 *
 * @param wanted.hidden the output to attend to: the last one, or the last but one layer's, which SDXL and SD3 take
 * @param wanted.pooled whether the pooled embedding is wanted too
 * @throws OptionError where the encoder does not have as many layers as `clipSkip` leaves out, or does not give them
 */
export async function clipEmbeddings(
  context: EncodeContext,
  { options, signal }: EncodeRequest,
  encoder: TextEncoder,
  prompts: readonly ChunkedPrompt[],
  wanted: { hidden: 'last' | 'penultimate'; pooled: boolean },
  scratch: Scratch,
): Promise<ClipEmbeddings> {
  const hiddenName = hiddenOutput(encoder, wanted.hidden, options.clipSkip ?? 0);
  const pooledName = wanted.pooled ? pooledOutput(encoder) : undefined;
  const windows = prompts.flatMap(({ chunks }) => chunks);
  const rows = windows.map(({ ids, count }) => ({ ids, mask: ids.map((_, i) => (i < count ? 1 : 0)) }));
  const names = pooledName === undefined ? [hiddenName] : [hiddenName, pooledName];
  const { engine, kernels } = context;
  const outputs = scratch.keepAll(await encodeText(engine, kernels, encoder, rows, names, signal));
  let hidden = outputs[hiddenName]!;
  const [, tokens, channels] = hidden.shape as [number, number, number];
  if (prompts.some(({ weighted }) => weighted)) {
    const all = new Float32Array(windows.length * tokens);
    windows.forEach(({ weights }, i) => all.set(weights, i * tokens));
    const weights = scratch.keep(uploadTensor(engine, [windows.length, tokens], all, 'token weights'));
    const weighed = scratch.keep(emptyTensor(engine, hidden.shape, 'weighed embeddings'));
    const weigh = await kernels.get('weigh');
    const buffers = { x: bufferOf(hidden), weights: bufferOf(weights), y: bufferOf(weighed) };
    weigh(buffers, { tokens, channels }, windows.length, true);
    hidden = weighed;
  }
  const perPrompt = windows.length / prompts.length;
  const pooled = pooledName === undefined ? undefined : outputs[pooledName]!;
  if (perPrompt === 1) return { hidden, pooled };
  const first = pooled && prompts.map((_, i) => ({ tensor: pooled, first: i * perPrompt, count: 1 }));
  return {
    // The windows of a prompt lie one after the other already.
    hidden: new Tensor('float32', [prompts.length, perPrompt * tokens, channels], hidden.gpu!),
    pooled:
      first &&
      scratch.keep(
        gatherRows(engine, first, [prompts.length, ...pooled.shape.slice(1)], 'pooled') as Tensor<'float32'>,
      ),
  };
}

/** Both CLIP encoders of SDXL and SD3: hidden states and pooled embeddings, in equally many windows. */
export async function twoClips(
  context: EncodeContext,
  request: EncodeRequest,
  texts: readonly PromptTexts[],
  scratch: Scratch,
): Promise<{ first: ClipEmbeddings; second: ClipEmbeddings }> {
  const wanted = { hidden: 'penultimate', pooled: true } as const;
  const parts = (['text_encoder', 'text_encoder_2'] as const).map((component, i) => ({
    encoder: encoderOf(context, component),
    prompts: texts.map((text) => (i === 0 ? text.first : text.second)),
  }));
  const counts = parts.map(
    ({ encoder, prompts }) => promptChunks(encoder, prompts, request.options)[0]!.chunks.length,
  );
  const [first, second] = parts.map(({ encoder, prompts }) => {
    const chunked = promptChunks(encoder, prompts, request.options, Math.max(...counts));
    return () => clipEmbeddings(context, request, encoder, chunked, wanted, scratch);
  });
  return { first: await first!(), second: await second!() };
}

/** Embeddings of equal length, one after the other in each token's channels. */
export async function besideEachOther(
  context: EncodeContext,
  tensors: readonly Tensor<'float32'>[],
  scratch: Scratch,
): Promise<Tensor<'float32'>> {
  if (tensors.length === 1) return tensors[0]!;
  let channel = 0;
  const parts = tensors.map((tensor) => {
    const part = { tensor, channel };
    channel += tensor.shape[tensor.shape.length - 1]!;
    return part;
  });
  return scratch.keep(await joinEmbeddings(context, parts, [...tensors[0]!.shape.slice(0, -1), channel]));
}

function hiddenOutput(encoder: TextEncoder, which: 'last' | 'penultimate', skip: number): string {
  if (!Number.isInteger(skip) || skip < 0) {
    throw new OptionError('clipSkip', `expected a whole number from 0 on, got ${skip}.`);
  }
  const names = encoder.session.outputs.map(({ name }) => name);
  const layers = hiddenStateNames(encoder);
  const wanted =
    which === 'penultimate' ? layers[layers.length - 2 - skip] : skip > 0 ? skippedOutput(skip) : undefined;
  if (wanted !== undefined && names.includes(wanted)) return wanted;
  if (skip > 0) {
    const most =
      which === 'penultimate'
        ? layers.length - 2
        : names.filter((name) => name.startsWith(skippedOutput())).length;
    throw new OptionError(
      'clipSkip',
      most > 0
        ? `${skip} is more than the ${most} layers that ${encoder.component} can leave out.`
        : `${encoder.component} does not give its layers. Export it with output_hidden_states, at opset 17 or later.`,
    );
  }
  // An export of a model for SDXL without hidden states gives the one that is wanted as its first output of rank 3.
  return names.includes('last_hidden_state') ? 'last_hidden_state' : firstOfRank(encoder, 3);
}

function pooledOutput(encoder: TextEncoder): string {
  const names = encoder.session.outputs.map(({ name }) => name);
  // The projected embedding comes before the plain one.
  return ['text_embeds', 'pooler_output'].find((name) => names.includes(name)) ?? firstOfRank(encoder, 2);
}

function firstOfRank({ session }: TextEncoder, rank: number): string {
  const output = session.outputs.find(({ shape }) => shape?.length === rank);
  return (output ?? session.outputs[0]!).name;
}
