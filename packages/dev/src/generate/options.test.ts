import { expect, test } from 'vitest';
import { parseCommand } from './options.ts';

test('a prompt alone leaves everything else to the pipeline', () => {
  expect(parseCommand(['a red panda'])).toEqual({
    out: 'picture.png',
    model: undefined,
    flags: undefined,
    request: { prompt: 'a red panda' },
  });
});

test('every option reaches the request', () => {
  const line =
    '--out o.png --model m --negative n --steps 4 --guidance 0 --size 512x768 --seed 7 --sampler euler --precision f32 --flags stock';
  expect(parseCommand(['p', ...line.split(' ')])).toEqual({
    out: 'o.png',
    model: 'm',
    flags: 'stock',
    request: {
      prompt: 'p',
      negativePrompt: 'n',
      numInferenceSteps: 4,
      guidanceScale: 0,
      width: 512,
      height: 768,
      seed: 7,
      sampler: 'euler',
      precision: 'f32',
    },
  });
});

test('one number is a square', () => {
  expect(parseCommand(['p', '--size', '64']).request).toMatchObject({ width: 64, height: 64 });
});

test.each([
  { args: [], message: 'What shall the picture show?' },
  { args: ['a', 'cat'], message: 'Put the prompt in quotes' },
  { args: ['p', '--steps', 'four'], message: '--steps four: expected a number' },
  { args: ['p', '--size', 'big'], message: 'expected WIDTHxHEIGHT' },
  { args: ['p', '--precision', 'f64'], message: 'expected f32, f16 or packed-f16' },
  { args: ['p', '--flags', 'fast'], message: '--flags fast is not known' },
  { args: ['p', '--colour', 'red'], message: /colour/ },
])('refuses $args', ({ args, message }) => expect(() => parseCommand(args)).toThrow(message));
