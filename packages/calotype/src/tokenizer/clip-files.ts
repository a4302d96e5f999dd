import { TokenizerError } from '../errors.ts';
import type { AddedToken, JsonObject, SpecialTokens } from './files.ts';

/** How CLIP cuts text into pieces before byte-pair encoding (Radford et al., arXiv 2103.00020, and its released code). */
const CLIP_PIECES =
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

/**
 * Builds what a `tokenizer.json` would say from the older pair of files that most Stable Diffusion repositories have.
 * Only CLIP's tokenizer ships in that form.
 */
export function clipTokenizerJson(vocab: unknown, merges: string, special: SpecialTokens): JsonObject {
  if (!isVocabulary(vocab)) {
    throw new TokenizerError('vocab.json', 'expected an object from token to id.');
  }
  const bos = special.bos ?? '<|startoftext|>';
  const eos = special.eos ?? '<|endoftext|>';
  const unknown = special.unk ?? eos;
  const idOf = (token: string): number => {
    const id = vocab[token];
    if (id === undefined) throw new TokenizerError('vocab.json', `the special token '${token}' is missing.`);
    return id;
  };
  const added: AddedToken[] = [...new Set([bos, eos])].map((content) => ({
    id: idOf(content),
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  return {
    version: '1.0',
    added_tokens: added,
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: CLIP_PIECES }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [eos, idOf(eos)],
      cls: [bos, idOf(bos)],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unknown,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: parseMerges(merges),
    },
  };
}

function parseMerges(text: string): [string, string][] {
  const lines = text.split(/\r?\n/);
  if (lines[0]?.startsWith('#version')) lines.shift();
  return lines
    .filter((line) => line !== '')
    .map((line, i) => {
      const [left, right, ...rest] = line.split(' ');
      if (left && right && rest.length === 0) return [left, right];
      throw new TokenizerError(
        'merges.txt',
        `merge ${i + 1}: expected two symbols, got ${JSON.stringify(line)}.`,
      );
    });
}

function isVocabulary(value: unknown): value is Record<string, number> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((id) => Number.isInteger(id))
  );
}
