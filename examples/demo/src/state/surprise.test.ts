import { expect, test } from 'vitest';
import { surprise } from './surprise.ts';

const first = (): number => 0;

test('fills templates in, with the article that fits', () => {
  const facts = {
    templates: ['a {colours} {animals}', 'a {unknown}'],
    suggestions: { colours: ['orange'], animals: ['owl'] },
    examples: ['a fox'],
  };
  expect(surprise(facts, first)).toBe('an orange owl');
  expect(surprise(facts, () => 0.99)).toBe('an orange owl');
});

test('takes an example where there is no template', () => {
  expect(surprise({ templates: [], suggestions: {}, examples: ['a fox', 'an owl'] }, () => 0.7)).toBe(
    'an owl',
  );
});
