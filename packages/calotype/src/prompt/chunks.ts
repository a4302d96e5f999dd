import { parsePrompt, plainText, type WeightedText } from './weights.ts';

/** What chunking needs of a tokenizer; `PromptTokenizer` is one. */
export interface ChunkTokenizer {
  readonly maxLength: number;
  readonly padId: number;
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  encodeContent(text: string): number[];
}

/** One window of a text encoder. */
export interface PromptChunk {
  /** Special tokens, content, padding: as long as the window. */
  readonly ids: Int32Array<ArrayBuffer>;
  /** Weight of every id's embedding; 1 for special tokens and padding. */
  readonly weights: Float32Array<ArrayBuffer>;
  /** Ids that are not padding. */
  readonly count: number;
}

/** A prompt cut into windows. Their embeddings are joined along the token axis. */
export interface ChunkedPrompt {
  readonly chunks: readonly PromptChunk[];
  /** Whether any weight differs from 1. */
  readonly weighted: boolean;
}

/**
 * Tokenizes a prompt with emphasis into as many windows as it needs: a start token, up to `maxLength − 2` tokens, an
 * end token each. A prompt that fits gives one window with the same ids that `encode` gives.
 *
 * @param options `minChunks` pads with empty windows: two prompts guided against each other must be equally long.
 *   `weights: false` takes brackets as text. `maxChunks` cuts what lies beyond.
 */
export function chunkPrompt(
  tokenizer: ChunkTokenizer,
  prompt: string,
  options: { minChunks?: number; maxChunks?: number; weights?: boolean } = {},
): ChunkedPrompt {
  const parts = options.weights === false ? [{ text: prompt, weight: 1 }] : parsePrompt(prompt);
  const { ids, weights } = weightedTokens(tokenizer, parts);
  const room = tokenizer.maxLength - tokenizer.prefix.length - tokenizer.suffix.length;
  const needed = Math.max(1, Math.ceil(ids.length / room));
  const count = Math.max(options.minChunks ?? 1, Math.min(needed, options.maxChunks ?? Infinity));
  const chunks = Array.from({ length: count }, (_, i) =>
    chunk(tokenizer, ids.slice(i * room, (i + 1) * room), weights.slice(i * room, (i + 1) * room)),
  );
  return { chunks, weighted: chunks.some((part) => part.weights.some((weight) => weight !== 1)) };
}

/** Cuts prompts into equally many windows, as guidance needs them: `minChunks` or more. */
export function chunkPrompts(
  tokenizer: ChunkTokenizer,
  prompts: readonly string[],
  options: { minChunks?: number; maxChunks?: number; weights?: boolean } = {},
): ChunkedPrompt[] {
  const longest = Math.max(...prompts.map((prompt) => chunkPrompt(tokenizer, prompt, options).chunks.length));
  return prompts.map((prompt) => chunkPrompt(tokenizer, prompt, { ...options, minChunks: longest }));
}

/** Ids and weights of all parts, without special tokens. */
function weightedTokens(
  tokenizer: ChunkTokenizer,
  parts: readonly WeightedText[],
): { ids: number[]; weights: number[] } {
  // A prompt without emphasis is tokenized in one piece, whatever the tokenizer does at the seams.
  if (parts.every((part) => part.weight === 1)) {
    const ids = tokenizer.encodeContent(plainText(parts));
    return { ids, weights: ids.map(() => 1) };
  }
  const tokens = parts.map((part) => tokenizer.encodeContent(part.text));
  return {
    ids: tokens.flat(),
    weights: tokens.flatMap((ids, i) => ids.map(() => parts[i]!.weight)),
  };
}

function chunk(
  tokenizer: ChunkTokenizer,
  content: readonly number[],
  weights: readonly number[],
): PromptChunk {
  const { maxLength, padId, prefix, suffix } = tokenizer;
  const ids = new Int32Array(maxLength).fill(padId);
  const all = [...prefix, ...content, ...suffix];
  ids.set(all);
  const allWeights = new Float32Array(maxLength).fill(1);
  allWeights.set(weights, prefix.length);
  return { ids, weights: allWeights, count: all.length };
}
