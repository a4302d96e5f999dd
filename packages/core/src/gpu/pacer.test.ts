import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Pacer } from './pacer.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Submits `count` command buffers of `milliseconds` each as fast as the pacer lets it. Most that lay ahead. */
async function run(count: number, milliseconds: number): Promise<number> {
  const pacer = new Pacer();
  let gpuFree = performance.now();
  let done = 0;
  let most = 0;
  for (let submitted = 1; submitted <= count; submitted++) {
    gpuFree = Math.max(gpuFree, performance.now()) + milliseconds;
    const wait = gpuFree - performance.now();
    pacer.submitted(new Promise<void>((resolve) => setTimeout(() => resolve(void done++), wait)));
    most = submitted > 20 ? Math.max(most, submitted - done) : most;
    while (pacer.wait) await vi.advanceTimersByTimeAsync(0.5);
  }
  return most;
}

test('keeps about thirty milliseconds of work ahead', async () => {
  expect(await run(60, 5)).toBeGreaterThanOrEqual(6);
  expect(await run(60, 5)).toBeLessThanOrEqual(8);
});

test('does not run away from a slow GPU, nor starve a quick one', async () => {
  expect(await run(40, 100)).toBeLessThanOrEqual(4);
  expect(await run(60, 1)).toBeGreaterThanOrEqual(16);
});
