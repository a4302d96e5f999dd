import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { GpuLane, type Busy } from './gpu-lane.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('what a step cost leaves out the rests in it, whether it began on an idle GPU or behind another', async () => {
  let restedMs = 0;
  const done: (() => void)[] = [];
  const lane = new GpuLane(
    () => new Promise<void>((resolve) => done.push(resolve)),
    () => restedMs,
  );
  const measured: Busy[] = [];
  const begin = (): void => lane.submitted(lane.now(), 10, (busy) => measured.push(busy));
  const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
  await pass(100);
  const origin = performance.now();
  begin();
  begin();
  await pass(30);
  restedMs += 20;
  done[0]!();
  await pass(25);
  restedMs += 10;
  done[1]!();
  await pass(40);
  restedMs += 40;
  begin();
  await pass(10);
  done[2]!();
  await pass(0);
  expect(measured).toEqual([
    { ms: 10, start: origin, end: origin + 30 },
    { ms: 15, start: origin + 30, end: origin + 55 },
    { ms: 10, start: origin + 95, end: origin + 105 },
  ]);
});
