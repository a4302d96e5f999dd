import { describe, expect, test } from 'vitest';
import { chunkPrompt, chunkPrompts, type ChunkTokenizer } from './chunks.ts';

/** A token a word: its number. Windows hold four words. */
const tokenizer: ChunkTokenizer = {
  maxLength: 6,
  padId: 0,
  prefix: [100],
  suffix: [101],
  encodeContent: (text) => text.split(/\s+/).filter(Boolean).map(Number),
};

describe('chunkPrompt', () => {
  test('fits a short prompt into one padded window', () => {
    const { chunks, weighted } = chunkPrompt(tokenizer, '1 2');
    expect(chunks).toEqual([
      { ids: Int32Array.of(100, 1, 2, 101, 0, 0), weights: new Float32Array(6).fill(1), count: 4 },
    ]);
    expect(weighted).toBe(false);
  });

  test('gives an empty prompt a window', () => {
    expect(chunkPrompt(tokenizer, '').chunks.map(({ ids }) => [...ids])).toEqual([[100, 101, 0, 0, 0, 0]]);
  });

  test('goes on in further windows, weights beside their tokens', () => {
    const { chunks, weighted } = chunkPrompt(tokenizer, '1 2 (3 4 5:2) 6');
    expect(chunks.map(({ ids }) => [...ids])).toEqual([
      [100, 1, 2, 3, 4, 101],
      [100, 5, 6, 101, 0, 0],
    ]);
    expect(chunks.map(({ weights }) => [...weights])).toEqual([
      [1, 1, 1, 2, 2, 1],
      [1, 2, 1, 1, 1, 1],
    ]);
    expect(weighted).toBe(true);
  });

  test('exactly full', () => {
    expect(chunkPrompt(tokenizer, '1 2 3 4').chunks).toHaveLength(1);
    expect(chunkPrompt(tokenizer, '1 2 3 4 5').chunks).toHaveLength(2);
  });

  test('cuts at maxChunks', () => {
    expect(chunkPrompt(tokenizer, '1 2 3 4 5', { maxChunks: 1 }).chunks.map(({ count }) => count)).toEqual([
      6,
    ]);
  });

  test('can leave brackets alone', () => {
    const literal: ChunkTokenizer = { ...tokenizer, encodeContent: (text) => [text.length] };
    expect([...chunkPrompt(literal, '(1)', { weights: false }).chunks[0]!.ids]).toEqual([
      100, 3, 101, 0, 0, 0,
    ]);
  });
});

test('chunkPrompts makes prompts equally long', () => {
  const [long, short] = chunkPrompts(tokenizer, ['1 2 3 4 5', '6']);
  expect(long!.chunks).toHaveLength(2);
  expect(short!.chunks.map(({ ids }) => [...ids])).toEqual([
    [100, 6, 101, 0, 0, 0],
    [100, 101, 0, 0, 0, 0],
  ]);
});
