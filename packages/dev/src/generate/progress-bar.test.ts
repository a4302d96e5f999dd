import { expect, test } from 'vitest';
import { describeEvent, formatBar } from './progress-bar.ts';

test('events are told in words', () => {
  expect(describeEvent({ phase: 'generate', stage: 'encode' })).toEqual({ label: 'encoding the prompt' });
  expect(describeEvent({ phase: 'generate', stage: 'denoise', step: 3, steps: 20 })).toEqual({
    label: 'denoising',
    done: 3,
    total: 20,
  });
  expect(describeEvent({ phase: 'load', component: 'unet', stage: 'weights', done: 1, total: 2 }).label).toBe(
    'unet: weights',
  );
});

test('the bar fills up', () => {
  expect(formatBar('denoising', 0, 4)).toBe(`[${' '.repeat(28)}] denoising 0/4`);
  expect(formatBar('denoising', 1, 4)).toBe(`[${'━'.repeat(7)}${' '.repeat(21)}] denoising 1/4`);
  expect(formatBar('weights', 4096, 4096)).toBe(`[${'━'.repeat(28)}] weights 100 %`);
});

test('a label without a share has no bar', () => {
  expect(formatBar('encoding').trim()).toBe('encoding');
});
