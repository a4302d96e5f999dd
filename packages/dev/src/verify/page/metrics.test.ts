import { describe, expect, test } from 'vitest';
import { beforeRounding, difference, worse } from './metrics.ts';

describe('difference', () => {
  test('largest error, and error over the norm of the reference', () => {
    expect(difference([3, 4.5], [3, 4])).toEqual({ maxAbs: 0.5, relL2: 0.1 });
  });

  test.each([
    { name: 'NaN in the result', actual: [NaN, 1], expected: [1, 1] },
    { name: 'NaN before a small error', actual: [NaN, 1.1], expected: [1, 1] },
    { name: 'infinity in the result', actual: [Infinity], expected: [1] },
  ])('$name passes no bar', ({ actual, expected }) => {
    expect(difference(actual, expected).relL2 <= 1).toBe(false);
  });

  test('equal infinities are equal', () => {
    expect(difference([Infinity, 1], [Infinity, 1])).toMatchObject({ maxAbs: 0 });
  });

  test('a reference of zeros is compared absolutely', () => {
    expect(difference([0.5, 0], [0, 0])).toEqual({ maxAbs: 0.5, relL2: 0.5 });
  });

  test('another length is an error', () => {
    expect(() => difference([1], [1, 2])).toThrow('1 elements where the reference has 2');
  });
});

test('worse keeps NaN whichever side it is on', () => {
  const good = { maxAbs: 1, relL2: 2 };
  const bad = { maxAbs: NaN, relL2: NaN };
  expect(worse(good, bad)).toEqual(bad);
  expect(worse(bad, good)).toEqual(bad);
  expect(worse(good, { maxAbs: 0, relL2: 3 })).toEqual({ maxAbs: 1, relL2: 3 });
});

test('float16 results may be half a step from what they round', () => {
  const step = 2 ** -10;
  const expected = [1 + 0.4 * step, 1 - 0.7 * step, 4, 0, NaN];
  const [exact, far, ...rest] = beforeRounding([1, 1, 4 + 8 * step, 2 ** -24, 1], expected);
  expect(exact).toBeCloseTo(expected[0]!, 6);
  expect(far).toBeCloseTo(1 - 0.5 * step, 6);
  expect(rest).toEqual([4 + 6 * step, 2 ** -25, NaN]);
});
