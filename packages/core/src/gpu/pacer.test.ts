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

test('makes the command buffers of a slow GPU shorter, and long again when it is quick', async () => {
  const pacer = new Pacer();
  const submit = async (msPerDispatch: number): Promise<void> => {
    const { dispatches } = pacer;
    // Two at a time: an interval tells something only while the GPU has more to do.
    for (let i = 1; i <= 2; i++) {
      const ms = i * dispatches * msPerDispatch;
      pacer.submitted(new Promise<void>((resolve) => setTimeout(resolve, ms)), dispatches);
    }
    await vi.advanceTimersByTimeAsync(2 * dispatches * msPerDispatch + 1);
  };
  expect(pacer.dispatches).toBe(48);
  for (let i = 0; i < 4; i++) await submit(2);
  expect(pacer.dispatches).toBe(5);
  for (let i = 0; i < 8; i++) await submit(0.01);
  expect(pacer.dispatches).toBe(48);
});

test('keeps to its share of the time, and keeps nothing ahead then', async () => {
  const pacer = new Pacer(() => 0.25);
  let busy = 0;
  for (let i = 0; i < 20; i++) {
    pacer.submitted(new Promise<void>((resolve) => setTimeout(resolve, 10)));
    busy += 10;
    const ready = pacer.wait;
    await vi.runAllTimersAsync();
    await ready;
  }
  expect(busy / performance.now()).toBeGreaterThan(0.22);
  expect(busy / performance.now()).toBeLessThan(0.27);
});
