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
    const dispatches = times.perBuffer();
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
  return { most, mostMs, perBuffer: times.perBuffer(), idle };
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
    dispatches += times.perBuffer();
    pacer.submitted(new Promise<void>(() => {}), times.perBuffer(), times);
  }
  expect(dispatches).toBe(32);
});

test('ends of several command buffers that are heard of at once tell what they took together', () => {
  const times = new DispatchTimes();
  for (let i = 0; i < 20; i++) times.record(i % 2 ? 0.01 : 7.99, 10);
  expect(times.expected(10)).toBeGreaterThan(3);
  expect(times.expected(10)).toBeLessThan(5);
});

/**
 * A program of `dispatches` that takes `stepMs`, run again and again with a share of a GPU whose news comes as in Chromium, every
 * other millisecond and a little late, and with timers that are up to 4 ms late. What of the time it was busy, and for how long at
 * most without a pause, once it is known what dispatches take.
 */
async function inBursts(
  share: number,
  stepMs: number,
  dispatches: number,
): Promise<{ busyShare: number; longestMs: number }> {
  const later = globalThis.setTimeout;
  vi.stubGlobal('setTimeout', (then: () => void, ms: number) => later(then, Math.max(ms, 4)));
  const pacer = new Pacer(() => share);
  const times = new DispatchTimes();
  const submitted: { start: number; end: number }[] = [];
  const submit = (ms: number): Promise<void> => {
    const start = Math.max(performance.now(), submitted.at(-1)?.end ?? 0);
    submitted.push({ start, end: start + ms });
    const heard = Math.ceil((start + ms) / 2) * 2 + 0.3;
    return new Promise((resolve) => later(resolve, heard - performance.now()));
  };
  const end = performance.now() + 4000;
  const running = (async () => {
    while (performance.now() < end) {
      for (let left = dispatches; left > 0;) {
        for (let { wait } = pacer; wait; { wait } = pacer) await wait;
        const count = Math.min(left, times.perBuffer(pacer.bufferMs));
        left -= count;
        pacer.submitted(submit((count / dispatches) * stepMs), count, times);
        // What the processor takes to encode it.
        await new Promise((resolve) => later(resolve, 0.2));
      }
    }
  })();
  await vi.runAllTimersAsync();
  await running;
  vi.unstubAllGlobals();
  const known = submitted.slice(submitted.length / 4);
  const elapsed = known.at(-1)!.end - known[0]!.start;
  const busy = known.reduce((sum, { start, end }) => sum + end - start, 0);
  let [longestMs, since] = [0, 0];
  for (const [i, { start, end }] of known.entries()) {
    // A pause of less than a millisecond is none.
    if (i === 0 || start - known[i - 1]!.end > 1) since = start;
    longestMs = Math.max(longestMs, end - since);
  }
  return { busyShare: busy / elapsed, longestMs };
}

test.each([
  [0.9, 20, 400],
  [0.5, 1, 1],
  [0.5, 1, 150],
  [0.5, 20, 400],
  [0.25, 1, 1],
  [0.25, 1, 150],
  [0.25, 20, 400],
])(
  'with a share of %d the GPU is busy for that part of the time at steps of %d ms, in bursts that leave a page its frames',
  async (share, stepMs, dispatches) => {
    const { busyShare, longestMs } = await inBursts(share, stepMs, dispatches);
    expect(busyShare / share).toBeGreaterThan(0.85);
    expect(busyShare / share).toBeLessThan(1.02);
    // Rests of less than a timer's delay are left out now and then, to keep the share.
    if (share <= 0.5) expect(longestMs).toBeLessThan(12);
  },
);

test('a share counts from now on, and work that comes now and then does not wait', async () => {
  let share = 1;
  const pacer = new Pacer(() => share);
  const times = new DispatchTimes();
  const busyFor = async (ms: number): Promise<void> => {
    const done = new Promise<void>((resolve) => setTimeout(resolve, ms));
    pacer.submitted(done, 1, times);
    await vi.advanceTimersByTimeAsync(ms);
  };
  // Seconds of work without a pause, with all of the GPU.
  let end: Promise<void> | undefined;
  for (let i = 0; i < 500; i++) [end] = [busyFor(10), await vi.advanceTimersByTimeAsync(9)];
  await end;
  share = 0.5;
  for (let i = 0; i < 50; i++) {
    const { wait } = pacer;
    const begun = performance.now();
    if (wait) await Promise.all([wait, vi.advanceTimersToNextTimerAsync()]);
    expect(performance.now() - begun).toBeLessThan(12);
    await busyFor(2);
    await vi.advanceTimersByTimeAsync(20);
  }
  expect(pacer.restedMs).toBeLessThan(12);
});
