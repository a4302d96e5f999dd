import { expect, test, vi } from 'vitest';
import { callStage, chain, SchedulerDisposedError } from '../src/index.ts';
import { LostError, MemoryError, seeded, settle, sleep, type Work } from './fake-gpu.ts';
import { Rig } from './rig.ts';

const rig = new Rig();

test('an error in a shared step finds its request; the others do not notice', async () => {
  rig.make();
  const work = rig.pictures();
  const results = [0, 1, 2, 3].map(
    (id) => rig.scheduler.submit(work, { id, steps: 20, ...(id === 2 && { throwsAt: 9 }) }).result,
  );
  const settled = Promise.allSettled(results);
  await settle();
  expect((await settled).map(({ status }) => status)).toEqual([
    'fulfilled',
    'fulfilled',
    'rejected',
    'fulfilled',
  ]);
  await expect(results[2]).rejects.toThrow('step 9 of 2');
  rig.expectIdle();
});

test('a step that does not fit into memory is done in smaller ones', async () => {
  rig.make();
  // Four jobs of 10, and 10 more for each job that shares a step: at most three can.
  rig.gpu.memory = 4 * 10 + 25;
  const work = rig.pictures({ bytes: 10 });
  const results = [0, 1, 2, 3].map((id) => rig.scheduler.submit(work, { id, steps: 30 }).result);
  await settle();
  expect(await Promise.all(results)).toEqual([0, 1, 2, 3]);
  expect(Math.max(...rig.gpu.log.map(({ ids }) => ids.length))).toBe(2);
  rig.expectIdle();
});

test('a request that finds no memory waits for the others; one that is alone fails with what the device said', async () => {
  rig.make();
  rig.gpu.memory = 25;
  const work = rig.pictures({ bytes: 10, maxBatch: 1 });
  const results = [0, 1, 2, 3].map((id) => rig.scheduler.submit(work, { id, steps: 5 }).result);
  await settle();
  expect(await Promise.all(results)).toEqual([0, 1, 2, 3]);
  rig.gpu.memory = 5;
  const hopeless = rig.scheduler.submit(work, { id: 4 }).result;
  const outcome = expect(hopeless).rejects.toBeInstanceOf(MemoryError);
  await settle();
  await outcome;
  rig.expectIdle();
});

test('after a loss every request goes on from its last checkpoint', async () => {
  const recover = vi.fn(async () => {
    await sleep(200);
    rig.gpu.lost = false;
  });
  rig.make({ checkpointMs: 100, recover });
  const work = rig.pictures();
  const restarts: string[] = [];
  const results = [0, 1, 2].map(
    (id) =>
      rig.scheduler.submit(
        work,
        { id, steps: 40 },
        { onEvent: (event) => event.type === 'restarted' && restarts.push(`${id}`) },
      ).result,
  );
  await vi.advanceTimersByTimeAsync(900);
  const before = rig.denoised.filter((id) => id === 0).length;
  rig.gpu.lost = true;
  await settle();
  expect(await Promise.all(results)).toEqual([0, 1, 2]);
  expect(recover).toHaveBeenCalledTimes(1);
  expect(restarts.toSorted()).toEqual(['0', '1', '2']);
  const steps = rig.denoised.filter((id) => id === 0).length;
  expect(before).toBeGreaterThan(5);
  // 40 and what was done after the last checkpoint, not 40 and all that was done before the loss.
  expect(steps).toBeLessThan(40 + before - 2);
  rig.expectIdle();
});

test('a request that loses the device again and again fails; so do all when it cannot be recovered', async () => {
  rig.make({
    recover: async () => {
      rig.gpu.lost = false;
    },
  });
  const deadly = chain(
    callStage<Work, number>({
      name: 'deadly',
      place: 'gpu',
      capacity: 1,
      run: async () => {
        throw new LostError();
      },
    }),
  );
  const failing = expect(rig.scheduler.submit(deadly, { id: 0 }).result).rejects.toBeInstanceOf(LostError);
  await settle();
  await failing;
  rig.expectIdle();
  rig.scheduler.dispose();

  rig.make({
    recover: async () => {
      throw new Error('no adapter');
    },
  });
  const all = [0, 1].map((id) =>
    expect(rig.scheduler.submit(rig.pictures(), { id }).result).rejects.toThrow('no adapter'),
  );
  await vi.advanceTimersByTimeAsync(30);
  rig.gpu.lost = true;
  await settle();
  await Promise.all(all);
  rig.expectIdle();
});

test('disposing settles everything', async () => {
  rig.make();
  const work = rig.pictures();
  const outcomes = Array.from({ length: 12 }, (_, id) =>
    expect(rig.scheduler.submit(work, { id }).result).rejects.toBeInstanceOf(SchedulerDisposedError),
  );
  await vi.advanceTimersByTimeAsync(100);
  rig.scheduler.dispose();
  await Promise.all(outcomes);
  await expect(rig.scheduler.submit(work, { id: 0 }).result).rejects.toBeInstanceOf(SchedulerDisposedError);
  await settle();
  rig.expectIdle();
});

test.each([1, 2])(
  '1,000 requests, many of them cancelled, with losses between: all settle (seed %i)',
  async (seed) => {
    const random = seeded(seed);
    rig.make({
      limit: 1000,
      checkpointMs: 50,
      recover: async () => {
        await sleep(20);
        rig.gpu.lost = false;
      },
    });
    rig.gpu.memory = 60;
    const work = rig.pictures({ bytes: 5 });
    const outcomes: Promise<string>[] = [];
    const handles: { reorder: (changes: { priority: number }) => void }[] = [];
    for (let id = 0; id < 1000; id++) {
      const controller = new AbortController();
      const handle = rig.scheduler.submit(
        work,
        {
          id,
          steps: 1 + Math.floor(random() * 6),
          shape: random() < 0.7 ? 'a' : 'b',
          ...(random() < 0.05 && { throwsAt: 0 }),
        },
        {
          client: `client ${Math.floor(random() * 4)}`,
          priority: Math.floor(random() * 3),
          signal: controller.signal,
          ...(random() < 0.2 && { deadlineMs: random() * 10_000 }),
        },
      );
      handles.push(handle);
      outcomes.push(
        handle.result.then(
          (value) => (value === id ? 'right' : 'wrong'),
          (error: Error) => error.message.split(' ')[0]!,
        ),
      );
      if (random() < 0.6)
        setTimeout(() => controller.abort(new DOMException('cancelled', 'AbortError')), random() * 20_000);
      if (random() < 0.1) setTimeout(() => handle.reorder({ priority: 3 }), random() * 5000);
    }
    for (let i = 0; i < 5; i++) setTimeout(() => (rig.gpu.lost = true), random() * 20_000);
    await settle();
    const counts: Record<string, number> = {};
    for (const outcome of await Promise.all(outcomes)) counts[outcome] = (counts[outcome] ?? 0) + 1;
    expect(Object.keys(counts).toSorted()).toEqual(['cancelled', 'right', 'step']);
    expect(counts['right']).toBeGreaterThan(300);
    expect(counts['cancelled']).toBeGreaterThan(100);
    expect(counts['step']).toBeGreaterThan(10);
    rig.expectIdle();
  },
);
