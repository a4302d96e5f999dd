import { expect, test, vi } from 'vitest';
import { chain, QueueFullError, Trace, type RequestEvent, type StageJob } from '../src/index.ts';
import { chromeTraceFaults } from './check-chrome-trace.ts';
import { fakeStage, settle, type Work } from './fake-gpu.ts';
import { Rig } from './rig.ts';

const rig = new Rig();

test('a request goes through all stages and tells of each', async () => {
  const events: RequestEvent[] = [];
  const { result } = rig.make().submit(rig.pictures(), { id: 7 }, { onEvent: (event) => events.push(event) });
  await settle();
  expect(await result).toBe(7);
  expect(rig.gpu.log.map(({ stage }) => stage)).toEqual([
    'encode',
    'denoise',
    'denoise',
    'denoise',
    'denoise',
    'decode',
  ]);
  const steps = events.flatMap((event) =>
    event.type === 'step' ? [`${event.stage} ${event.step}/${event.steps}`] : [],
  );
  expect(steps).toEqual([
    'encode 0/1',
    'encode 1/1',
    'denoise 0/4',
    'denoise 1/4',
    'denoise 2/4',
    'denoise 3/4',
    'denoise 4/4',
    'decode 0/1',
    'decode 1/1',
    'image 0/1',
    'image 1/1',
  ]);
  rig.expectIdle();
});

test('requests that may share steps do, and learn how many are best', async () => {
  rig.make();
  const work = rig.pictures();
  const results = Array.from({ length: 8 }, (_, id) => rig.scheduler.submit(work, { id, steps: 60 }).result);
  await settle();
  expect(await Promise.all(results)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  const sizes = rig.gpu.log.filter(({ stage }) => stage === 'denoise').map(({ ids }) => ids.length);
  expect(sizes.slice(0, 3)).toEqual([1, 1, 1]);
  expect(Math.max(...sizes)).toBe(8);
  // Once it is known that eight are best, eight it is.
  expect(sizes.filter((size) => size === 8).length).toBeGreaterThan(30);
  rig.expectIdle();
});

test('steps are not shared where that gains nothing', async () => {
  rig.make();
  const saturated = chain(
    fakeStage(rig.gpu, { name: 'denoise', ms: (jobs) => 40 * jobs, steps: () => 30, maxBatch: 8 }),
  );
  const results = Array.from({ length: 4 }, (_, id) => rig.scheduler.submit(saturated, { id }).result);
  await settle();
  await Promise.all(results);
  const sizes = rig.gpu.log.map(({ ids }) => ids.length);
  // One to warm up, seven to be sure of it, some that were submitted before that was known, or to see whether it still holds.
  expect(sizes.filter((size) => size > 1).length).toBeLessThanOrEqual(15);
  expect(Math.max(...sizes)).toBe(2);
  // And so the first is done first, not all at the end.
  expect(rig.gpu.log.slice(0, 40).filter(({ ids }) => ids.includes(0)).length).toBe(30);
});

test('jobs of different keys never share a step', async () => {
  rig.make();
  const work = rig.pictures();
  for (let id = 0; id < 6; id++) rig.start(work, { id, steps: 10, shape: id % 2 ? 'wide' : 'tall' });
  await settle();
  for (const { ids } of rig.gpu.log) expect(new Set(ids.map((id) => id % 2)).size).toBe(1);
});

test('the GPU is never idle while there is work, and waits for nothing but its own', async () => {
  rig.make().trace = new Trace();
  const work = rig.pictures();
  for (let id = 0; id < 8; id++) rig.start(work, { id, steps: 20 });
  await settle();
  const { trace } = rig.scheduler;
  expect(trace!.gpuIdleShare).toBeLessThan(0.05);
  const json = trace!.toChromeTrace();
  expect(chromeTraceFaults(json)).toEqual([]);
  expect(
    json.traceEvents.filter(({ name }) => name === 'thread_name').map(({ args }) => args!['name']),
  ).toEqual(['gpu', ...Array.from({ length: 8 }, (_, id) => `request ${id}`)]);
  const gpuSpans = json.traceEvents.filter(({ tid, ph }) => tid === 0 && ph === 'X');
  for (const [index, span] of gpuSpans.entries()) {
    const before = gpuSpans[index - 1];
    if (before) expect(span.ts).toBeGreaterThanOrEqual(before.ts + before.dur!);
  }
});

test('no more are admitted than the limit, of all or of one client', async () => {
  rig.make({ limit: 3, limitPerClient: 2 });
  const work = rig.pictures();
  const first = [0, 1].map((id) => rig.scheduler.submit(work, { id }, { client: 'a' }).result);
  const refused = rig.scheduler.submit(work, { id: 2 }, { client: 'a' }).result;
  await expect(refused).rejects.toMatchObject({ name: 'QueueFullError', limit: 2, scope: 'client' });
  const third = rig.scheduler.submit(work, { id: 3 }, { client: 'b' }).result;
  const error: unknown = await rig.scheduler
    .submit(work, { id: 4 }, { client: 'b' })
    .result.catch((e: unknown) => e);
  expect(error).toBeInstanceOf(QueueFullError);
  expect(error).toMatchObject({ limit: 3, scope: 'all' });
  const waiting = rig.scheduler.submit(work, { id: 5 }, { client: 'b', whenFull: 'wait' }).result;
  const controller = new AbortController();
  const givenUp = rig.scheduler.submit(
    work,
    { id: 6 },
    { whenFull: 'wait', signal: controller.signal },
  ).result;
  controller.abort(new DOMException('enough', 'AbortError'));
  await expect(givenUp).rejects.toThrow('enough');
  await settle();
  expect(await Promise.all([...first, third, waiting])).toEqual([0, 1, 3, 5]);
  rig.expectIdle();
});

test('what is held stays within the capacities and the budget', async () => {
  rig.make({ limit: 200, memoryBudget: 30 });
  const work = rig.pictures({ bytes: 10, capacity: 8 });
  let most = 0;
  for (let id = 0; id < 40; id++) {
    rig.start(work, { id }, { onEvent: () => (most = Math.max(most, rig.scheduler.stats.heldBytes)) });
  }
  await settle();
  expect(most).toBeGreaterThan(10);
  expect(most).toBeLessThanOrEqual(30);
  rig.expectIdle();
});

test('an abort settles the request at once, frees it within a step, and leaves the others alone', async () => {
  rig.make();
  const work = rig.pictures();
  const controllers = [0, 1, 2].map(() => new AbortController());
  const results = controllers.map(
    ({ signal }, id) => rig.scheduler.submit(work, { id, steps: 30 }, { signal }).result,
  );
  for (const result of results) result.catch(() => {});
  await vi.advanceTimersByTimeAsync(600);
  const reason = new DOMException('enough', 'AbortError');
  controllers[1]!.abort(reason);
  await expect(results[1]).rejects.toBe(reason);
  await vi.advanceTimersByTimeAsync(50);
  const from = rig.gpu.log.length;
  await settle();
  expect(rig.gpu.log.slice(from).some(({ ids }) => ids.includes(1))).toBe(false);
  expect(await Promise.all([results[0], results[2]])).toEqual([0, 2]);
  rig.expectIdle();
});

test('a job that is aborted inside a step is disposed of when the step returns, not before, and once', async () => {
  rig.make();
  let finishStep = (): void => {};
  const disposed = vi.fn<() => void>();
  const slow = chain<Work, number, StageJob<number>>({
    name: 'slow',
    place: 'gpu',
    capacity: 1,
    bytes: () => 5,
    start: () => ({ steps: 3, stepIndex: 0, result: () => 0, dispose: disposed }),
    step: () => new Promise<void>((resolve) => (finishStep = resolve)),
  });
  const controller = new AbortController();
  const { result } = rig.scheduler.submit(slow, { id: 0 }, { signal: controller.signal });
  result.catch(() => {});
  await vi.advanceTimersByTimeAsync(5);
  controller.abort(new DOMException('enough', 'AbortError'));
  await expect(result).rejects.toThrow('enough');
  expect(disposed).not.toHaveBeenCalled();
  finishStep();
  await settle();
  expect(disposed).toHaveBeenCalledTimes(1);
  rig.expectIdle();
});

test('the queue position is told whenever it changes, and time left is guessed from what others took', async () => {
  rig.make({ maxActive: 1 });
  const work = rig.pictures({ maxBatch: 1 });
  await Promise.all([rig.scheduler.submit(work, { id: 0, steps: 10 }).result, settle()]);
  const positions: number[] = [];
  let guess: number | undefined;
  const began = performance.now();
  rig.start(work, { id: 1, steps: 10 });
  rig.start(work, { id: 2, steps: 10 });
  const last = rig.scheduler.submit(
    work,
    { id: 3, steps: 10 },
    {
      onEvent: (event) => {
        if (event.type !== 'queued') return;
        positions.push(event.position);
        guess ??= event.remainingMs;
      },
    },
  );
  await Promise.all([last.result, settle()]);
  // The first of the three begins at once.
  expect(positions).toEqual([2, 1]);
  const took = performance.now() - began;
  expect(Math.abs(guess! - took) / took).toBeLessThan(0.15);
});
