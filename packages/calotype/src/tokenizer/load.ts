import { optionalObject, type TokenizerFiles } from './files.ts';
import { PromptTokenizer } from './prompt-tokenizer.ts';

/** Where tokenizer files are read from: a model folder, or anything that answers alike. */
export interface TokenizerSource {
  /** A parsed JSON file; `undefined` where there is none. */
  json(path: string, signal?: AbortSignal): Promise<Record<string, unknown> | undefined>;
  /** A text file; `undefined` where there is none. */
  text(path: string, signal?: AbortSignal): Promise<string | undefined>;
}

/**
 * Loads the tokenizer of a component, e.g. `tokenizer` or `tokenizer_2`: from its `tokenizer.json`, else from its
 * `vocab.json` and `merges.txt`.
 *
 * @param maxLength The text encoder's, for tokenizers that name no sensible length.
 */
export async function loadTokenizer(
  source: TokenizerSource,
  component: string,
  maxLength?: number,
  signal?: AbortSignal,
): Promise<PromptTokenizer> {
  const read = (name: string): Promise<Record<string, unknown> | undefined> =>
    source.json(`${component}/${name}`, signal);
  const [tokenizer, config, specialTokensMap] = await Promise.all(
    ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'].map(read),
  );
  let files: TokenizerFiles = {
    tokenizer,
    config: optionalObject(config, 'tokenizer_config.json'),
    specialTokensMap: optionalObject(specialTokensMap, 'special_tokens_map.json'),
  };
  if (tokenizer === undefined) {
    const [vocab, merges] = await Promise.all([
      read('vocab.json'),
      source.text(`${component}/merges.txt`, signal),
    ]);
    files = { ...files, vocab, ...(merges === undefined ? {} : { merges }) };
  }
  return new PromptTokenizer(files, maxLength === undefined ? {} : { maxLength });
}
