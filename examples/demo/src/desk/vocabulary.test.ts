import { expect, test } from 'vitest';
import { editDistance, Vocabulary } from './vocabulary.ts';

const vocabulary = new Vocabulary([
  'a',
  'red',
  'panda',
  'elephant',
  'strawberry',
  'glass',
  'ice',
  'cream',
  'crown',
]);

test('knows its words, their plurals, capitals, accents and hyphenated pairs', () => {
  for (const word of ['Panda', 'pandas', 'strawberries', 'glasses', 'ice-cream', "panda's", 'élephant']) {
    expect(vocabulary.has(word), word).toBe(true);
  }
  for (const word of ['lighthouse', 'ice-boat', 'pan', '-']) expect(vocabulary.has(word), word).toBe(false);
});

test('finds the word that was meant, and none for another word', () => {
  expect(vocabulary.nearest('elefant')).toBe('elephant');
  expect(vocabulary.nearest('crwon')).toBe('crown');
  expect(vocabulary.nearest('strawbery')).toBe('strawberry');
  expect(vocabulary.nearest('lighthouse')).toBeUndefined();
  expect(vocabulary.nearest('rad')).toBeUndefined();
});

test('counts a swap of neighbours as one change', () => {
  expect(editDistance('crwon', 'crown')).toBe(1);
  expect(editDistance('', 'abc')).toBe(3);
  expect(editDistance('kitten', 'sitting')).toBe(3);
});
