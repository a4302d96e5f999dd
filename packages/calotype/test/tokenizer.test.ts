import { describe, expect, test } from 'vitest';
import { TokenizerError } from '../src/errors.ts';
import { loadTokenizer, PromptTokenizer } from '../src/tokenizer/index.ts';
import { clipTokenizerJson } from '../src/tokenizer/clip-files.ts';
import { readClipJson, readClipVocabulary } from './clip-files.ts';

interface Expected {
  text: string;
  input_ids: number[];
  unpadded: number[];
}

const expected = readClipJson('expected.json') as Expected[];
const config = readClipJson('tokenizer_config.json');
const specialTokensMap = readClipJson('special_tokens_map.json');
const { vocab, merges } = readClipVocabulary();
const fromPair = new PromptTokenizer({ vocab, merges, config, specialTokensMap });
const noSpecials = { bos: undefined, eos: undefined, unk: undefined, pad: undefined };
const fromJson = new PromptTokenizer({ tokenizer: clipTokenizerJson(vocab, merges, noSpecials), config });

describe.each([
  ['vocab.json and merges.txt', fromPair],
  ['tokenizer.json', fromJson],
])('CLIP from %s', (_, tokenizer) => {
  test.each(expected)('$text', ({ text, input_ids, unpadded }) => {
    expect([...tokenizer.encode(text).ids]).toEqual(input_ids);
    expect(tokenizer.encodeUnpadded(text)).toEqual(unpadded);
  });

  test('a sigma at the end of a word is a sigma', () => {
    const ids = [49406, 138, 109, 139, 481, 139, 234, 138, 112, 138, 123, 139, 481, 49407];
    expect(tokenizer.encodeUnpadded('ΑΣ ΌΔΟΣ')).toEqual(ids);
  });

  test('knows its own shape', () => {
    expect(tokenizer).toMatchObject({
      maxLength: 77,
      padId: 49407,
      prefix: [49406],
      suffix: [49407],
      vocabularySize: 49408,
    });
  });
});

describe('length', () => {
  test('counts what is not padding and says what was cut', () => {
    expect(fromPair.encode('a photo of a cat')).toMatchObject({ count: 7, truncated: undefined });
    const cut = fromPair.encode('a photo of a cat on a mat', { maxLength: 7 });
    expect([...cut.ids]).toEqual([49406, 320, 1125, 539, 320, 2368, 49407]);
    expect(cut.truncated).toBe('on a mat');
  });

  test('cuts through a word', () => {
    const cut = fromPair.encode('photo unbelievablyphotorealistic cat', { maxLength: 5 });
    expect(cut.truncated).toMatch(/[a-z]+ cat$/);
    expect(cut.truncated).not.toContain('unbe');
  });

  test('falls back to the text encoder where the file names no sensible length', () => {
    const files = { vocab, merges, config: { model_max_length: 1e30 } };
    expect(new PromptTokenizer(files, { maxLength: 64 }).maxLength).toBe(64);
    expect(new PromptTokenizer(files).maxLength).toBe(77);
  });
});

describe('padding', () => {
  const map = { bos_token: '<|startoftext|>', eos_token: { content: '<|endoftext|>' }, pad_token: '!' };

  test("Stable Diffusion 2 pads with '!', which special_tokens_map.json alone says", () => {
    const tokenizer = new PromptTokenizer({ vocab, merges, config, specialTokensMap: map });
    expect(tokenizer.padId).toBe(0);
    expect([...tokenizer.encode('cat').ids.subarray(0, 5)]).toEqual([49406, 2368, 49407, 0, 0]);
    // As in transformers, a special token is matched wherever it stands.
    expect(tokenizer.encodeContent('cat!')).toEqual([2368, 0]);
  });

  test('a config that lists added tokens itself has the last word', () => {
    const newer = { ...(config as object), added_tokens_decoder: {} };
    expect(new PromptTokenizer({ vocab, merges, config: newer, specialTokensMap: map }).padId).toBe(49407);
  });

  test('on the left, where the config says so', () => {
    const left = new PromptTokenizer({
      vocab,
      merges,
      config: { padding_side: 'left', model_max_length: 4 },
    });
    expect([...left.encode('cat').ids]).toEqual([49407, 49406, 2368, 49407]);
  });
});

describe('words', () => {
  test('have their tokens and places', () => {
    const text = ' an  astronaut, riding';
    const words = fromPair.words(text);
    expect(words.map((word) => word.text)).toEqual(['an', 'astronaut,', 'riding']);
    for (const { text: word, start, end } of words) expect(text.slice(start, end)).toBe(word);
    expect(words.map(({ tokenStart, tokenEnd }) => [tokenStart, tokenEnd])).toEqual([
      [0, 1],
      [1, 3],
      [3, 4],
    ]);
  });

  test('are unknown where the vocabulary lacks a piece', () => {
    const tiny = new PromptTokenizer({ tokenizer: readClipJson('tiny-tokenizer.json'), config });
    expect(tiny.words('cat 日本').map((word) => word.unknown)).toEqual([false, false]);
    const { '!</w>': _, ...poorer } = vocab;
    const poor = new PromptTokenizer({ vocab: poorer, merges, config });
    expect(poor.words('cat !').map((word) => word.unknown)).toEqual([false, true]);
  });
});

describe('loading from a folder', () => {
  const folder = (files: Record<string, unknown>): Parameters<typeof loadTokenizer>[0] => ({
    json: async (path) => files[path] as Record<string, unknown> | undefined,
    text: async (path) => files[path] as string | undefined,
  });

  test('takes the pair of files where there is no tokenizer.json', async () => {
    const tokenizer = await loadTokenizer(
      folder({ 'tokenizer_2/vocab.json': vocab, 'tokenizer_2/merges.txt': merges }),
      'tokenizer_2',
      64,
    );
    expect(tokenizer.maxLength).toBe(64);
    expect(tokenizer.encodeUnpadded('cat')).toEqual([49406, 2368, 49407]);
  });

  test('says what is missing', async () => {
    await expect(loadTokenizer(folder({}), 'tokenizer')).rejects.toThrow(/tokenizer.json: is missing/);
  });
});

describe('other tokenizers', () => {
  test('T5: pieces after white space, an end token and no start token', () => {
    const tokenizer = {
      added_tokens: [
        { id: 0, content: '<pad>', special: true },
        { id: 1, content: '</s>', special: true },
      ],
      normalizer: null,
      pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
        pair: [],
        special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
      },
      decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
      model: {
        type: 'Unigram',
        unk_id: 2,
        vocab: [
          ['<pad>', 0],
          ['</s>', 0],
          ['<unk>', 0],
          ['▁a', -1],
          ['▁cat', -2],
          ['s', -3],
        ],
      },
    };
    const t5 = new PromptTokenizer({
      tokenizer,
      config: { model_max_length: 6, pad_token: '<pad>', eos_token: '</s>' },
    });
    expect([...t5.encode('a cats').ids]).toEqual([3, 4, 5, 1, 0, 0]);
    expect([...t5.encode('a cats cats cats').ids]).toEqual([3, 4, 5, 4, 5, 1]);
    expect(t5.words('a dog').map((word) => word.unknown)).toEqual([false, true]);
  });
});

describe('broken files', () => {
  test.each([
    ['nothing', {}, /tokenizer.json: is missing/],
    ['a tokenizer.json that is no object', { tokenizer: 'x' }, /expected a JSON object/],
    ['no model', { tokenizer: {} }, /has no 'model'/],
    [
      'an unknown model',
      { tokenizer: { model: { type: 'Other', vocab: 1 } } },
      /tokenizer.json: cannot be used/,
    ],
    ['a vocabulary of strings', { vocab: { a: 'b' }, merges: '' }, /vocab.json: expected an object/],
    [
      'no special tokens',
      { vocab: { a: 1 }, merges: '' },
      /<\|startoftext\|>.*missing|<\|endoftext\|>.*missing/,
    ],
    ['a torn merge', { vocab, merges: 'a b c' }, /merges.txt: merge 1/],
  ])('%s', (_, files, message) => {
    expect(() => new PromptTokenizer(files)).toThrow(TokenizerError);
    expect(() => new PromptTokenizer(files)).toThrow(message);
  });
});
