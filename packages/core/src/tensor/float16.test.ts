import { expect, test } from 'vitest';
import { fromFloat16, fromFloat16Array, toFloat16, toFloat16Array } from './float16.ts';

const allBits = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
const isNaNBits = (bits: number): boolean => (bits & 0x7fff) > 0x7c00;

test('every half survives the way to a number and back', () => {
  const numbers = fromFloat16Array(allBits);
  const back = toFloat16Array(numbers);
  for (const bits of allBits) {
    const number = fromFloat16(bits);
    if (!Object.is(number, numbers[bits])) throw new Error(`${bits}: ${number} and ${numbers[bits]}`);
    const wanted = isNaNBits(bits) ? 0x7e00 : bits;
    if (toFloat16(number) !== wanted || (back[bits]! & (isNaNBits(bits) ? 0x7e00 : 0xffff)) !== wanted) {
      throw new Error(`${bits} became ${toFloat16(number)} and ${back[bits]}`);
    }
  }
});

test('halfway values go to the even neighbour, others to the nearer one', () => {
  for (let bits = 0; bits < 0x7bff; bits++) {
    const low = fromFloat16(bits);
    const high = fromFloat16(bits + 1);
    const middle = (low + high) / 2;
    const even = bits % 2 === 0 ? bits : bits + 1;
    // One float32 step to either side of the middle, which float32 holds exactly.
    const step = middle * 2 ** -23;
    const cases = [middle, middle - step, middle + step, -middle];
    const wanted = [even, bits, bits + 1, even | 0x8000];
    expect([...toFloat16Array(Float32Array.from(cases))]).toEqual(wanted);
    expect(cases.map(toFloat16)).toEqual(wanted);
  }
});

test.each([
  ['one', 1, 0x3c00],
  ['the largest half', 65504, 0x7bff],
  ['just below the overflow', 65519.99, 0x7bff],
  ['the overflow', 65520, 0x7c00],
  ['infinity', -Infinity, 0xfc00],
  ['negative zero', -0, 0x8000],
  ['half the smallest subnormal', 2 ** -25, 0],
  ['just above it', 2 ** -25 * (1 + 2 ** -23), 1],
  ['the largest float32 subnormal', 2 ** -127, 0],
])('%s', (_, value, bits) => {
  expect(toFloat16(value)).toBe(bits);
  expect(toFloat16Array(Float32Array.of(value))[0]).toBe(bits);
});

test('a double is rounded once, not by way of float32', () => {
  // Float32 would round this to the middle of two halves, and then to the lower, even one.
  expect(toFloat16(1 + 2 ** -11 + 2 ** -40)).toBe(0x3c01);
});
