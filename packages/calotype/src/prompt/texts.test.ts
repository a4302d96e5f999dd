import { expect, test } from 'vitest';
import { chunkPrompt } from './chunks.ts';
import { textsOf } from './texts.ts';

test('names every text that chunking prompts tokenizes', () => {
  const options = { prompt: 'a (red:1.3) fox \\(young\\)', negativePrompt: 'blurry', prompt2: '[dim] light' };
  const texts = new Set(textsOf(options));
  const asked: string[] = [];
  const tokenizer = {
    maxLength: 8,
    padId: 0,
    prefix: [1],
    suffix: [2],
    encodeContent: (text: string) => {
      asked.push(text);
      return [3];
    },
  };
  for (const prompt of [options.prompt, options.negativePrompt, options.prompt2]) {
    chunkPrompt(tokenizer, prompt);
    chunkPrompt(tokenizer, prompt, { weights: false });
  }
  expect(asked.filter((text) => !texts.has(text))).toEqual([]);
  expect(textsOf({ prompt: 'x' }, (prompt) => `<${prompt}>`)).toEqual(['<x>', '<>']);
});
