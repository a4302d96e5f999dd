import { expect, test } from 'vitest';
import { BatchSizes } from './batch-sizes.ts';

/** Sizes that were measured often enough, at these costs. */
function learned(costs: Readonly<Record<number, number>>): BatchSizes {
  const sizes = new BatchSizes();
  for (const [size, ms] of Object.entries(costs)) {
    for (let i = 0; i < 5; i++) sizes.record('key', Number(size), ms);
  }
  return sizes;
}

test('takes the size of the best throughput, and tries the next one as long as growing has paid', () => {
  expect(learned({}).choose('key', 8, 8)).toBe(1);
  expect(learned({ 1: 10 }).choose('key', 8, 8)).toBe(2);
  expect(learned({ 1: 10, 2: 19.9 }).choose('key', 8, 8)).toBe(1);
  expect(learned({ 1: 10, 2: 12, 4: 16, 8: 24 }).choose('key', 8, 8)).toBe(8);
  expect(learned({ 1: 10, 2: 12, 4: 16, 8: 40 }).choose('key', 8, 8)).toBe(4);
});

test('fills up the next size where that gives more than a smaller one that is full', () => {
  expect(learned({ 1: 10, 2: 12, 4: 16, 8: 24 }).choose('key', 7, 8)).toBe(7);
  expect(learned({ 1: 10, 2: 12, 4: 16, 8: 24 }).choose('key', 5, 8)).toBe(4);
  expect(learned({ 1: 10, 2: 12, 4: 22, 8: 44 }).choose('key', 3, 8)).toBe(2);
  // Not before it is known what that costs, nor beyond the limit.
  expect(learned({ 1: 10, 2: 12, 4: 16 }).choose('key', 7, 8)).toBe(4);
  expect(learned({ 1: 10, 2: 12, 4: 16, 8: 24 }).choose('key', 7, 4)).toBe(4);
});

test('is not misled by a step that seems to take no time, because its end was heard of with that of the one before', () => {
  const sizes = learned({ 1: 10, 8: 24 });
  for (let i = 0; i < 8; i++) sizes.record('key', 2, i % 2 ? 0.01 : 40);
  expect(sizes.cost('key', 2)).toBeCloseTo(20, 0);
  expect(sizes.choose('key', 8, 8)).toBe(1);
});

test('goes below what did not fit', () => {
  const sizes = learned({ 1: 10, 2: 12, 4: 16, 8: 24 });
  sizes.exceeds('key', 7);
  expect(sizes.choose('key', 8, 8)).toBe(4);
  sizes.forgetLimits();
  expect(sizes.choose('key', 8, 8)).toBe(8);
});

test('measures a size that did not pay anew after a while', () => {
  const sizes = learned({ 1: 10, 2: 30 });
  const choices = Array.from({ length: 500 }, () => {
    const jobs = sizes.choose('key', 2, 2);
    sizes.record('key', jobs, jobs === 1 ? 10 : 12);
    return jobs;
  });
  expect(choices.slice(0, 200)).not.toContain(2);
  expect(choices.slice(210)).not.toContain(1);
});
