import type { Job } from '@calotype/scheduler';
import { loadTokenizer, ModelFolder, type PromptTokenizer } from 'calotype';
import type { ModelManifest } from '../models/bundled.ts';
import { readFacts, readManifest, type ModelFacts } from './facts.ts';
import { Vocabulary } from './vocabulary.ts';

/** A model folder as it can be sent to a worker. */
export type DeskSource = string | Readonly<Record<string, Blob>>;

/** How a model reads a prompt. */
export interface Reading {
  /** Words that the model was not taught, each with one that it was and that looks alike. */
  unknown: { word: string; nearest: string | undefined }[];
  /** The end of the prompt that no longer fits, if any. */
  cut: string | undefined;
}

// A type, not an interface: only those fit the index signature of `Service`.
export type DeskService = {
  /** Opens a model folder in place of the one before, and tells about it. */
  open: Job<{ source: DeskSource; manifest: ModelManifest; own: boolean }, ModelFacts>;
  read: Job<{ prompt: string }, Reading>;
};

/** Vocabularies of up to this many entries hold the words of one small data set, and little else. */
const SMALL_VOCABULARY = 10_000;

let folder: ModelFolder | undefined;
let vocabulary: Vocabulary | undefined;
let tokenizer: Promise<PromptTokenizer> | undefined;

export const service: DeskService = {
  async open({ source, manifest, own }) {
    tokenizer = undefined;
    folder = await ModelFolder.open(source, undefined, { cache: !own });
    const told = await readManifest(folder, manifest);
    vocabulary = told.vocabulary && new Vocabulary(told.vocabulary);
    return readFacts(folder, told);
  },

  async read({ prompt }) {
    if (!folder) return { unknown: [], cut: undefined };
    const reader = await (tokenizer ??= loadTokenizer(folder, 'tokenizer'));
    const words = [...new Set(prompt.match(/[\p{L}\p{M}\p{N}'’-]+/gu) ?? [])];
    const unknown = words.filter((word) => (vocabulary ? !vocabulary.has(word) : isPieced(reader, word)));
    return {
      unknown: unknown.map((word) => ({ word, nearest: vocabulary?.nearest(word) })),
      cut: reader.encode(prompt).truncated,
    };
  },
};

/** Whether the tokenizer has to spell a word from pieces, or cannot write it at all. */
function isPieced(reader: PromptTokenizer, word: string): boolean {
  // In a large vocabulary two or three pieces are still a word that was seen.
  const tooManyPieces = reader.vocabularySize <= SMALL_VOCABULARY ? 2 : 4;
  return reader
    .words(word)
    .some((span) => span.unknown || span.tokenEnd - span.tokenStart >= tooManyPieces * partsOf(word));
}

/** Parts that a tokenizer would see in a hyphenated word or a number, each with its mark: "ice-cream", "1844". */
function partsOf(word: string): number {
  const marks = word.match(/[-'’]/g)?.length ?? 0;
  const digits = word.match(/\p{N}/gu)?.length ?? 0;
  return marks * 2 + Math.max(1, digits);
}
