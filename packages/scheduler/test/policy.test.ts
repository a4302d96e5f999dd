import { expect, test, vi } from 'vitest';
import { settle } from './fake-gpu.ts';
import { Rig } from './rig.ts';

const rig = new Rig();

test('turns go by priority, then deadline, then arrival', async () => {
  rig.make();
  const work = rig.pictures({ maxBatch: 1 });
  const done: number[] = [];
  const submit = (id: number, priority: number, deadlineMs?: number): void => {
    void rig.scheduler
      .submit(work, { id }, { priority, deadlineMs })
      .result.then((value) => done.push(value));
  };
  submit(0, 0);
  submit(1, 0);
  submit(2, 0, 5000);
  submit(3, 0, 1000);
  submit(4, 1);
  await settle();
  expect(done).toEqual([4, 3, 2, 0, 1]);
});

test('a request can be moved in the order while it waits or runs', async () => {
  rig.make();
  const work = rig.pictures({ maxBatch: 1 });
  const done: number[] = [];
  const handles = [0, 1, 2].map((id) => rig.scheduler.submit(work, { id, steps: 10 }));
  for (const { result } of handles) void result.then((value) => done.push(value));
  await vi.advanceTimersByTimeAsync(100);
  handles[2]!.reorder({ priority: 1 });
  await settle();
  expect(done).toEqual([2, 0, 1]);
});

test('clients have equal shares of the GPU, however many requests each has', async () => {
  rig.make();
  const work = rig.pictures({ maxBatch: 1, capacity: 30 });
  for (let id = 0; id < 9; id++) rig.start(work, { id, steps: 50 }, { client: 'busy' });
  rig.start(work, { id: 100, steps: 50 }, { client: 'modest' });
  await vi.advanceTimersByTimeAsync(3000);
  const modest = rig.denoised.filter((id) => id === 100).length;
  expect(modest / rig.denoised.length).toBeGreaterThan(0.45);
  expect(modest / rig.denoised.length).toBeLessThan(0.55);
});

test('a client that comes back after a pause has saved up nothing', async () => {
  rig.make();
  const work = rig.pictures({ maxBatch: 1 });
  rig.start(work, { id: 0, steps: 200 }, { client: 'steady' });
  rig.start(work, { id: 1, steps: 2 }, { client: 'late' });
  await vi.advanceTimersByTimeAsync(4000);
  rig.start(work, { id: 2, steps: 50 }, { client: 'late' });
  await vi.advanceTimersByTimeAsync(100);
  const before = rig.gpu.log.length;
  await vi.advanceTimersByTimeAsync(2000);
  const since = rig.gpu.log.slice(before).flatMap(({ ids }) => ids);
  expect(since.filter((id) => id === 0).length / since.length).toBeGreaterThan(0.4);
});

test('no request starves under an endless stream of more urgent ones', async () => {
  rig.make();
  const work = rig.pictures({ maxBatch: 1, capacity: 4 });
  let id = 0;
  // Two requests of 176 ms arrive every 300 ms: more than the GPU can do.
  const stream = setInterval(() => {
    for (let i = 0; i < 2; i++) rig.start(work, { id: id++ }, { priority: 2, client: `c${id}` });
  }, 300);
  await vi.advanceTimersByTimeAsync(2000);
  let finished = false;
  void rig.scheduler.submit(work, { id: 999 }).result.then(() => (finished = true));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(finished).toBe(false);
  await vi.advanceTimersByTimeAsync(50_000);
  clearInterval(stream);
  expect(finished).toBe(true);
});
