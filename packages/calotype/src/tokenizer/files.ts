import { TokenizerError } from '../errors.ts';

/** Parsed JSON whose shape is checked where it is used. */
export type JsonObject = Record<string, unknown>;

/** The files of a repository's tokenizer folder: JSON parsed, `merges.txt` as text. */
export interface TokenizerFiles {
  /** `tokenizer.json` */
  readonly tokenizer?: unknown;
  /** `tokenizer_config.json` */
  readonly config?: unknown;
  /** `special_tokens_map.json` */
  readonly specialTokensMap?: unknown;
  /** `vocab.json`, with `merges` in place of `tokenizer` */
  readonly vocab?: unknown;
  /** `merges.txt` */
  readonly merges?: string;
}

/** A token that is matched in the text as it stands, before anything else. */
export interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

/** Special tokens by role. */
export interface SpecialTokens {
  readonly bos: string | undefined;
  readonly eos: string | undefined;
  readonly unk: string | undefined;
  readonly pad: string | undefined;
}

/**
 * Reads the special tokens.
 *
 * Where both files name one, the older `special_tokens_map.json` wins, unless `tokenizer_config.json` is of the newer
 * kind that lists added tokens itself: that is how transformers reads them, and how Stable Diffusion 2 comes to pad
 * with '!' although its other file says otherwise.
 */
export function readSpecialTokens(files: TokenizerFiles): SpecialTokens {
  const config = optionalObject(files.config, 'tokenizer_config.json');
  const map = optionalObject(files.specialTokensMap, 'special_tokens_map.json');
  const order = config['added_tokens_decoder'] === undefined ? [map, config] : [config, map];
  const find = (field: string): string | undefined => {
    for (const source of order) {
      const content = tokenContent(source[field]);
      if (content !== undefined) return content;
    }
    return undefined;
  };
  return {
    bos: find('bos_token'),
    eos: find('eos_token'),
    unk: find('unk_token'),
    pad: find('pad_token'),
  };
}

/** An object, or an empty one where the file is absent. */
export function optionalObject(value: unknown, file: string): JsonObject {
  if (value === undefined || value === null) return {};
  return requireObject(value, file);
}

/** An object, or an error naming the file. */
export function requireObject(value: unknown, file: string): JsonObject {
  if (isObject(value)) return value;
  throw new TokenizerError(file, `expected a JSON object, got ${value === null ? 'null' : typeof value}.`);
}

/** Whether a parsed JSON value is an object with fields. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function tokenContent(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return isObject(value) && typeof value['content'] === 'string' ? value['content'] : undefined;
}
