import { expect, test } from 'vitest';
import { fromFloat16, toFloat16 } from '../../tensor/float16.ts';

// What the kernels with f16 rely on: an integer of 8 bits in the mantissa of 1024 is that much more than 1024, and what is
// left after subtracting 1024 and a zero point is exact in half precision.
test('integers become halves by way of the mantissa of 1024', () => {
  for (let q = 0; q < 256; q++) {
    for (const zero of [0, 7, 8, 128, 255]) {
      const middle = fromFloat16(toFloat16(1024 + zero));
      const difference = fromFloat16(0x6400 | q) - middle;
      expect(difference).toBe(q - zero);
      expect(fromFloat16(toFloat16(difference))).toBe(difference);
    }
  }
});
