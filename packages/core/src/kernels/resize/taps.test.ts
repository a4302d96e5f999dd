import { describe, expect, test } from 'vitest';
import { repetition, tapsOf, type AxisResize } from './taps.ts';

const base: AxisResize = {
  mode: 'nearest',
  coordinates: 'half_pixel',
  nearest: 'round_prefer_floor',
  from: 3,
  to: 6,
  scale: 2,
  roi: [0, 1],
  antialias: false,
  excludeOutside: false,
  cubicCoefficient: -0.75,
};

describe('tapsOf', () => {
  test('repeats elements for whole factors, whichever way the exporter says it', () => {
    const expected = [0, 0, 1, 1, 2, 2];
    for (const axis of [base, { ...base, coordinates: 'asymmetric', nearest: 'floor' } as const]) {
      const taps = tapsOf(axis);
      expect([...taps.indices]).toEqual(expected);
      expect(repetition(taps, 3)).toBe(2);
    }
    expect(repetition(tapsOf({ ...base, coordinates: 'asymmetric', nearest: 'ceil' }), 3)).toBeUndefined();
  });

  test('of a long axis', () => {
    const { indices } = tapsOf({ ...base, from: 1, to: 200_000, scale: 200_000 });
    expect(indices).toHaveLength(200_000);
  });

  test('interpolates between two neighbours and repeats the edge', () => {
    const { taps, indices, weights } = tapsOf({ ...base, mode: 'linear' });
    expect(taps).toBe(2);
    expect([...indices]).toEqual([0, 0, 0, 1, 0, 1, 1, 2, 1, 2, 2, 2]);
    expect([...weights!]).toEqual([0.25, 0.75, 0.75, 0.25, 0.25, 0.75, 0.75, 0.25, 0.25, 0.75, 0.75, 0.25]);
  });

  test('weights sum to one', () => {
    for (const mode of ['linear', 'cubic'] as const) {
      for (const [to, scale] of [
        [6, 2],
        [2, 0.6],
      ] as const) {
        for (const antialias of [false, true]) {
          const { taps, weights } = tapsOf({ ...base, mode, to, scale, antialias });
          for (let x = 0; x < to; x++) {
            const sum = weights!.slice(x * taps, (x + 1) * taps).reduce((a, b) => a + b, 0);
            expect(sum).toBeCloseTo(1, 6);
          }
        }
      }
    }
  });

  test('marks what lies outside of a cropped image', () => {
    const taps = tapsOf({ ...base, coordinates: 'tf_crop_and_resize', to: 3, scale: 1, roi: [0, 2] });
    expect([...taps.indices]).toEqual([0, 2, -1]);
  });
});
