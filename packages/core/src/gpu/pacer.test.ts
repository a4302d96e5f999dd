import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { DispatchTimes, Pacer } from './pacer.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A GPU whose dispatches take `msPerDispatch`, fed through a pacer for `rounds` command buffers. */
async function run(
  rounds: number,
  msPerDispatch: number,
): Promise<{ most: number; mostMs: number; perBuffer: number; idle: number }> {
  const pacer = new Pacer();
  const times = new DispatchTimes();
  let gpuFree = performance.now();
  let [ahead, most, mostMs, idle] = [0, 0, 0, 0];
  for (let i = 0; i < rounds; i++) {
    const dispatches = times.perBuffer;
    if (i > rounds / 2) idle += Math.max(0, performance.now() - gpuFree);
    gpuFree = Math.max(gpuFree, performance.now()) + dispatches * msPerDispatch;
    const wait = gpuFree - performance.now();
    ahead++;
    pacer.submitted(
      new Promise<void>((resolve) => setTimeout(() => resolve(void ahead--), wait)),
      dispatches,
      times,
    );
    if (i > rounds / 2) [most, mostMs] = [Math.max(most, ahead), Math.max(mostMs, wait)];
    while (pacer.wait) await vi.advanceTimersByTimeAsync(0.25);
  }
  return { most, mostMs, perBuffer: times.perBuffer, idle };
}

test.each([0.02, 0.05, 0.5, 2, 9])(
  'never has more than 30 ms ahead, and never lets the GPU wait, at %d ms a dispatch',
  async (ms) => {
    const { mostMs, idle, perBuffer } = await run(200, ms);
    expect(mostMs).toBeLessThanOrEqual(30);
    expect(idle).toBe(0);
    expect(perBuffer * ms).toBeLessThanOrEqual(9);
  },
);

test('of dispatches that take longer than that, one lies ahead of the one that runs', async () => {
  expect(await run(30, 120)).toMatchObject({ most: 2, perBuffer: 1, idle: 0 });
});

test('of a program that has not run yet little is submitted before it is known what that takes', async () => {
  // 2 ms a dispatch, where 16 and 16 more may be submitted blindly.
  const pacer = new Pacer();
  const times = new DispatchTimes();
  let dispatches = 0;
  while (!pacer.wait) {
    dispatches += times.perBuffer;
    pacer.submitted(new Promise<void>(() => {}), times.perBuffer, times);
  }
  expect(dispatches).toBe(32);
});

test('ends of several command buffers that are heard of at once tell what they took together', () => {
  const times = new DispatchTimes();
  for (let i = 0; i < 20; i++) times.record(i % 2 ? 0.01 : 7.99, 10);
  expect(times.expected(10)).toBeGreaterThan(3);
  expect(times.expected(10)).toBeLessThan(5);
});

test('keeps to its share of the time, and keeps nothing ahead then', async () => {
  const pacer = new Pacer(() => 0.25);
  const times = new DispatchTimes();
  let busy = 0;
  for (let i = 0; i < 20; i++) {
    pacer.submitted(new Promise<void>((resolve) => setTimeout(resolve, 10)), 10, times);
    busy += 10;
    const ready = pacer.wait;
    await vi.runAllTimersAsync();
    await ready;
  }
  expect(busy / performance.now()).toBeGreaterThan(0.22);
  expect(busy / performance.now()).toBeLessThan(0.27);
});
