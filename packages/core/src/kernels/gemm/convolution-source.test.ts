import { expect, test } from 'vitest';
import { magicReciprocal } from './convolution-source.ts';

test('divides by multiplying wherever it says so', () => {
  let some = 0;
  for (let divisor = 1; divisor <= 200; divisor++) {
    for (const largest of [9 * divisor, 49 * divisor]) {
      const magic = magicReciprocal(divisor, largest);
      if (magic === undefined) continue;
      some++;
      for (let x = 0; x <= largest; x++) {
        if (Math.imul(x, magic) >>> 16 !== Math.floor(x / divisor)) expect.fail(`${x} / ${divisor}`);
      }
    }
  }
  // All of 3x3 with up to 80 tiles a tap, and some of the rest.
  expect(some).toBeGreaterThan(150);
  for (let divisor = 1; divisor <= 80; divisor++) expect(magicReciprocal(divisor, 9 * divisor)).toBeDefined();
});
