import { expect, test } from 'vitest';
import { parsePrompt, plainText } from './weights.ts';

const cases: [prompt: string, parts: [text: string, weight: number][]][] = [
  ['', []],
  ['a cat', [['a cat', 1]]],
  [
    'a (cat)',
    [
      ['a ', 1],
      ['cat', 1.1],
    ],
  ],
  [
    'a ((cat))',
    [
      ['a ', 1],
      ['cat', 1.21],
    ],
  ],
  [
    'a [cat]',
    [
      ['a ', 1],
      ['cat', 1 / 1.1],
    ],
  ],
  [
    '(red:1.3) cat',
    [
      ['red', 1.3],
      [' cat', 1],
    ],
  ],
  [
    '(red: 1.3 ) cat',
    [
      ['red', 1.3],
      [' cat', 1],
    ],
  ],
  ['(red:.5)', [['red', 0.5]]],
  ['(red:0)', [['red', 0]]],
  ['(red:-1)', [['red', -1]]],
  [
    '(a (b:2) c:1.5)',
    [
      ['a ', 1.5],
      ['b', 3],
      [' c', 1.5],
    ],
  ],
  ['[(a)]', [['a', 1]]],
  ['([a])', [['a', 1]]],
  [
    '(a, [b:c])',
    [
      ['a, ', 1.1],
      ['b:c', 1],
    ],
  ],
  [String.raw`\(a\) \[b\] \\`, [['(a) [b] \\', 1]]],
  [String.raw`a\b`, [['a\\b', 1]]],
  ['smile :) here', [['smile :) here', 1]]],
  [
    '10:30 (late)',
    [
      ['10:30 ', 1],
      ['late', 1.1],
    ],
  ],
  ['(open', [['(open', 1]]],
  ['close)', [['close)', 1]]],
  ['(a] b)', [['a] b', 1.1]]],
  ['[a:1.5)', [['[a:1.5)', 1]]],
  ['(a:1.5', [['(a:1.5', 1]]],
  [
    '((a) b',
    [
      ['(', 1],
      ['a', 1.1],
      [' b', 1],
    ],
  ],
  ['()', []],
];

test.each(cases)('%j', (prompt, expected) => {
  const parts = parsePrompt(prompt);
  expect(parts.map((part) => part.text)).toEqual(expected.map(([text]) => text));
  parts.forEach((part, i) => expect(part.weight).toBeCloseTo(expected[i]![1], 12));
});

test('plainText leaves the emphasis out', () => {
  expect(plainText(parsePrompt('a (red:1.3) [cat]'))).toBe('a red cat');
});

test('a prompt of nothing but brackets', () => {
  expect(parsePrompt('('.repeat(20_000))).toHaveLength(1);
});
