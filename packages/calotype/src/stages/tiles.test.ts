import { expect, test } from 'vitest';
import { tileAxis } from './tiles.ts';

test.each([
  [64, 64, 16, 8],
  [40, 64, 16, 8],
  [65, 64, 16, 8],
  [113, 64, 16, 4],
  [200, 64, 16, 8],
  [33, 16, 4, 2],
  [128, 32, 20, 8],
])('%i elements in tiles of %i that overlap by %i, %i pixels each', (length, size, overlap, factor) => {
  const tiles = tileAxis(length, size, overlap, factor);
  expect(tiles.size).toBe(Math.min(size, length));
  expect(tiles.starts[0]).toBe(0);
  expect(tiles.starts.at(-1)! + tiles.size).toBe(length);
  const sums = new Float64Array(length * factor);
  tiles.starts.forEach((start, i) => {
    const next = tiles.starts[i + 1];
    if (next !== undefined) expect(start + tiles.size - next).toBeGreaterThanOrEqual(overlap);
    const weights = tiles.weights[i]!;
    expect(weights).toHaveLength(tiles.size * factor);
    weights.forEach((weight, pixel) => (sums[start * factor + pixel]! += weight));
    // Nothing of what lies beside an inner edge is used.
    const margin = Math.floor((overlap * factor) / 4);
    if (i > 0) expect(Math.max(...weights.subarray(0, margin))).toBe(0);
    if (next !== undefined) expect(Math.max(...weights.subarray(weights.length - margin))).toBe(0);
  });
  for (const sum of sums) expect(sum).toBeCloseTo(1, 6);
});
