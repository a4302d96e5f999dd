import { Tokenizer } from '@huggingface/tokenizers';
import { TokenizerError } from '../errors.ts';
import { clipTokenizerJson } from './clip-files.ts';
import {
  isObject,
  optionalObject,
  readSpecialTokens,
  requireObject,
  type JsonObject,
  type TokenizerFiles,
} from './files.ts';

/** Token ids of a prompt, as a text encoder takes them. */
export interface EncodedPrompt {
  /** Exactly the asked-for length: cut or padded. */
  readonly ids: Int32Array<ArrayBuffer>;
  /** Ids that are not padding, special tokens included. */
  readonly count: number;
  /** The part of the prompt that did not fit, if any. */
  readonly truncated: string | undefined;
}

/** A word of a prompt and its tokens. */
export interface WordSpan {
  readonly text: string;
  /** Position in the prompt, in UTF-16 units; `end` is one past the last. */
  readonly start: number;
  readonly end: number;
  /** Range in the prompt's ids without special tokens. */
  readonly tokenStart: number;
  readonly tokenEnd: number;
  /** Whether the vocabulary lacks some of it. */
  readonly unknown: boolean;
}

/** Longest length taken seriously: "no limit" is written as 1e30 by some repositories. */
const LONGEST = 1_000_000;

/** Texts whose ids are kept. */
const REMEMBERED = 256;

/** Length of CLIP's text encoders, for repositories that say nothing. */
const CLIP_LENGTH = 77;

/**
 * A text encoder's tokenizer: `tokenizer.json` of any kind the library knows (CLIP, T5, Qwen, …), or CLIP's older
 * `vocab.json` with `merges.txt`.
 *
 * @example
 * const tokenizer = new PromptTokenizer({ tokenizer, config }, { maxLength: 77 });
 * const { ids, truncated } = tokenizer.encode('a red panda wearing a crown');
 */
export class PromptTokenizer {
  /** Length that prompts are padded and cut to. */
  readonly maxLength: number;
  readonly padId: number;
  readonly paddingSide: 'left' | 'right';
  /** Special tokens put before every prompt. */
  readonly prefix: readonly number[];
  /** Special tokens put after every prompt. */
  readonly suffix: readonly number[];
  readonly unknownId: number | undefined;
  readonly vocabularySize: number;
  /** What it was made of: another thread can make the same. */
  readonly made: { readonly files: TokenizerFiles; readonly options: { readonly maxLength?: number } };
  readonly #tokenizer: Tokenizer;
  readonly #isLowercase: boolean;
  /** Ids that were found elsewhere, by their text; the oldest first. */
  readonly #remembered = new Map<string, number[]>();

  /** @param options `maxLength`: the text encoder's, for repositories whose tokenizer names no sensible one. */
  constructor(files: TokenizerFiles, options: { maxLength?: number } = {}) {
    this.made = { files, options };
    const special = readSpecialTokens(files);
    const config = optionalObject(files.config, 'tokenizer_config.json');
    const json = tokenizerJson(files);
    addSpecialToken(json, special.pad);
    try {
      this.#tokenizer = new Tokenizer(json, config);
      // A first use: some faults only show then.
      [this.prefix, this.suffix] = specialEnds(this.#tokenizer);
    } catch (cause) {
      const file = files.tokenizer === undefined ? 'vocab.json' : 'tokenizer.json';
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new TokenizerError(file, `cannot be used: ${message}`, cause);
    }
    this.#isLowercase = JSON.stringify(json['normalizer'] ?? null).includes('"Lowercase"');
    const idOf = (token: string | undefined): number | undefined =>
      token === undefined ? undefined : this.#tokenizer.token_to_id(token);
    const padding = optionalObject(json['padding'], 'tokenizer.json');
    const named = idOf(special.pad) ?? numberOr(padding['pad_id'], undefined) ?? idOf('<pad>');
    // Unnamed, it is the end token: what CLIP's tokenizer class has by default.
    this.padId = named ?? idOf(special.eos) ?? this.suffix[this.suffix.length - 1] ?? 0;
    this.paddingSide = config['padding_side'] === 'left' ? 'left' : 'right';
    const model = optionalObject(json['model'], 'tokenizer.json');
    this.unknownId = unigramUnknown(model) ?? idOf(special.unk ?? stringOr(model['unk_token'], undefined));
    const declared = numberOr(config['model_max_length'], undefined);
    const sensible = declared !== undefined && declared > 0 && declared <= LONGEST;
    this.maxLength = sensible ? declared : (options.maxLength ?? CLIP_LENGTH);
    this.vocabularySize = this.#tokenizer.get_vocab(true).size;
  }

  /** Ids cut and padded to `maxLength` (by default the tokenizer's own). */
  encode(text: string, options: { maxLength?: number } = {}): EncodedPrompt {
    const length = options.maxLength ?? this.maxLength;
    const room = Math.max(0, length - this.prefix.length - this.suffix.length);
    const content = this.encodeContent(text);
    const used = [...this.prefix, ...content.slice(0, room), ...this.suffix].slice(0, length);
    const ids = new Int32Array(length).fill(this.padId);
    ids.set(used, this.paddingSide === 'left' ? length - used.length : 0);
    return {
      ids,
      count: used.length,
      truncated: content.length > room ? this.#textFrom(text, room) : undefined,
    };
  }

  /** Ids with special tokens, neither padded nor cut. */
  encodeUnpadded(text: string): number[] {
    return this.#tokenizer.encode(this.#sigmas(text)).ids;
  }

  /** Ids without special tokens: what weighting and chunking work on. */
  encodeContent(text: string): number[] {
    const remembered = this.#remembered.get(text);
    if (remembered) return remembered.slice();
    return this.#tokenizer.encode(this.#sigmas(text), { add_special_tokens: false }).ids;
  }

  /** Lowercase letter by letter, as the reference does it: JavaScript writes a Σ that ends a word as ς. */
  #sigmas(text: string): string {
    return this.#isLowercase ? text.replaceAll('Σ', 'σ') : text;
  }

  /** Keeps what another thread found for a text, so that nothing is computed for it here. */
  remember(text: string, ids: readonly number[]): void {
    this.#remembered.delete(text);
    this.#remembered.set(text, [...ids]);
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= REMEMBERED) break;
      this.#remembered.delete(oldest);
    }
  }

  /** Text that ids stand for. */
  decode(ids: readonly number[]): string {
    if (ids.length === 0) return '';
    return this.#tokenizer
      .decode([...ids], { skip_special_tokens: true })
      .replaceAll('</w>', ' ')
      .trim();
  }

  /** Words of a prompt, as white space parts them, with their tokens. */
  words(text: string): WordSpan[] {
    const matches = [...text.matchAll(/\S+/g)];
    const alone = matches.map(([word]) => this.encodeContent(word));
    const whole = this.encodeContent(text);
    // Where a word's ids depend on its neighbours, its share is found by encoding the prompt up to it.
    const independent = sameIds(alone.flat(), whole);
    let tokenStart = 0;
    return matches.map(({ 0: word, index }, i) => {
      const end = index + word.length;
      const last = i === matches.length - 1;
      const tokenEnd = independent
        ? tokenStart + alone[i]!.length
        : last
          ? whole.length
          : Math.max(tokenStart, Math.min(whole.length, this.encodeContent(text.slice(0, end)).length));
      const unknown =
        this.unknownId !== undefined &&
        whole.slice(tokenStart, tokenEnd).includes(this.unknownId) &&
        this.#tokenizer.token_to_id(word) !== this.unknownId;
      const span = { text: word, start: index, end, tokenStart, tokenEnd, unknown };
      tokenStart = tokenEnd;
      return span;
    });
  }

  /** The prompt from the first word on that has a token at or after a position. */
  #textFrom(text: string, token: number): string {
    const word = this.words(text).find(({ tokenEnd }) => tokenEnd > token);
    if (word === undefined) return '';
    if (word.tokenStart >= token) return text.slice(word.start).trimEnd();
    // The cut goes through a word; what its last tokens spell is all that can be said.
    const rest = this.decode(this.encodeContent(text).slice(token, word.tokenEnd));
    return (rest + text.slice(word.end)).trimEnd();
  }
}

function tokenizerJson(files: TokenizerFiles): JsonObject {
  if (files.tokenizer !== undefined) {
    const json = requireObject(files.tokenizer, 'tokenizer.json');
    if (!isObject(json['model'])) throw new TokenizerError('tokenizer.json', "has no 'model'.");
    // Added tokens are extended below; the caller's object stays as it was.
    return { ...json };
  }
  if (files.vocab !== undefined && files.merges !== undefined) {
    return clipTokenizerJson(files.vocab, files.merges, readSpecialTokens(files));
  }
  throw new TokenizerError(
    'tokenizer.json',
    'is missing, and so is the pair of vocab.json and merges.txt that could take its place.',
  );
}

/** Makes a special token known as such, as transformers does on loading: it is then matched whole in prompts. */
function addSpecialToken(json: JsonObject, content: string | undefined): void {
  const added = Array.isArray(json['added_tokens']) ? (json['added_tokens'] as unknown[]) : [];
  if (content === undefined) return;
  if (added.some((token) => isObject(token) && token['content'] === content)) return;
  const model = optionalObject(json['model'], 'tokenizer.json');
  const id = isObject(model['vocab']) ? numberOr(model['vocab'][content], undefined) : undefined;
  if (id === undefined) return;
  json['added_tokens'] = [
    ...added,
    { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  ];
}

/** What the tokenizer puts around a prompt, found by trying. */
function specialEnds(tokenizer: Tokenizer): [prefix: number[], suffix: number[]] {
  const content = tokenizer.encode('a', { add_special_tokens: false }).ids;
  const whole = tokenizer.encode('a').ids;
  for (let start = 0; start + content.length <= whole.length; start++) {
    const end = start + content.length;
    if (sameIds(whole.slice(start, end), content)) return [whole.slice(0, start), whole.slice(end)];
  }
  return [[], []];
}

function unigramUnknown(model: JsonObject): number | undefined {
  return model['type'] === 'Unigram' ? numberOr(model['unk_id'], undefined) : undefined;
}

function sameIds(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}

function numberOr<T>(value: unknown, fallback: T): number | T {
  return typeof value === 'number' ? value : fallback;
}

function stringOr<T>(value: unknown, fallback: T): string | T {
  return typeof value === 'string' ? value : fallback;
}
