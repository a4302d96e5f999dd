import { expect, test } from 'vitest';
import { quantizeBlock } from './quantize-block.ts';

test('8 bits: the largest magnitude becomes ±127', () => {
  expect(quantizeBlock([0.5, -1, 127, 1.5, -2.5], 8)).toEqual({
    scale: 1,
    integers: Uint8Array.of(128, 127, 255, 130, 126),
  });
});

test('4 bits: the largest magnitude becomes -8, whatever its sign', () => {
  expect(quantizeBlock([8, -8, 1, 0.5, 1.5], 4)).toEqual({
    scale: -1,
    integers: Uint8Array.of(0, 15, 7, 8, 6),
  });
  expect(quantizeBlock([-16, 2, 7], 4)).toEqual({ scale: 2, integers: Uint8Array.of(0, 9, 12) });
});

test('scales are float16, rounded up so that nothing is cut off', () => {
  const { scale, integers } = quantizeBlock([1], 8);
  expect(scale).toBeGreaterThanOrEqual(1 / 127);
  expect(scale).toBeLessThan((1 / 127) * (1 + 2 ** -10));
  expect(integers).toEqual(Uint8Array.of(255));
});

test('zeros, and numbers below the smallest float16', () => {
  expect(quantizeBlock([0, 0], 4)).toEqual({ scale: -0, integers: Uint8Array.of(8, 8) });
  expect(quantizeBlock([1e-9, -1e-9], 8)).toEqual({ scale: 2 ** -24, integers: Uint8Array.of(128, 128) });
});
