import type { Tensor } from '@calotype/core';
import { encodeText, hiddenStateNames, tokenRow, type TextEncoder } from '../stages/text-encoder.ts';
import { encoderOf, type EncodeContext } from './family.ts';
import { joinEmbeddings, type PromptTexts, type Scratch } from './embeddings.ts';

/** Prompts as a CLIP encoder sees them. */
export interface ClipEmbeddings {
  /** [prompts, tokens, channels] */
  hidden: Tensor<'float32'>;
  /** [prompts, channels], where asked for. */
  pooled: Tensor<'float32'> | undefined;
}

/**
 * Encodes prompts with a CLIP text encoder.
 *
 * @param hidden the output to attend to: the last one, or the last but one layer's, which SDXL and SD3 take
 * @param pooled whether the pooled embedding is wanted too
 */
export async function clipEmbeddings(
  context: EncodeContext,
  encoder: TextEncoder,
  prompts: readonly string[],
  wanted: { hidden: 'last' | 'penultimate'; pooled: boolean },
  scratch: Scratch,
  signal: AbortSignal | undefined,
): Promise<ClipEmbeddings> {
  const hidden = hiddenOutput(encoder, wanted.hidden);
  const pooled = wanted.pooled ? pooledOutput(encoder) : undefined;
  const rows = prompts.map((prompt) => tokenRow(encoder.tokenizer, prompt));
  const names = pooled === undefined ? [hidden] : [hidden, pooled];
  const outputs = scratch.keepAll(
    await encodeText(context.engine, context.kernels, encoder, rows, names, signal),
  );
  return { hidden: outputs[hidden]!, pooled: pooled === undefined ? undefined : outputs[pooled]! };
}

/** Both CLIP encoders of SDXL and SD3: hidden states and pooled embeddings, side by side. */
export async function twoClips(
  context: EncodeContext,
  texts: readonly PromptTexts[],
  scratch: Scratch,
  signal: AbortSignal | undefined,
): Promise<{ first: ClipEmbeddings; second: ClipEmbeddings }> {
  const wanted = { hidden: 'penultimate', pooled: true } as const;
  const encode = (component: string, prompts: string[]): Promise<ClipEmbeddings> =>
    clipEmbeddings(context, encoderOf(context, component), prompts, wanted, scratch, signal);
  const first = await encode('text_encoder', texts.map((text) => text.first)); // prettier-ignore
  const second = await encode('text_encoder_2', texts.map((text) => text.second)); // prettier-ignore
  return { first, second };
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

function hiddenOutput(encoder: TextEncoder, which: 'last' | 'penultimate'): string {
  const layers = hiddenStateNames(encoder);
  if (which === 'penultimate' && layers.length > 1) return layers[layers.length - 2]!;
  const names = encoder.session.outputs.map(({ name }) => name);
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
