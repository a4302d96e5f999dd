import { afterAll, describe, expect, test } from 'vitest';
import { readAll, type ReadJob, type ReadNews } from '../../test/cache-worker.ts';
import { BLOCK_BYTES } from '../source/source.ts';
import { ModelCache } from './model-cache.ts';

// The browser's own file system and locks; what they are used for is tested in Node.

const bytes = 2 * BLOCK_BYTES + 4321;
const names: string[] = [];

function fresh(): string {
  const name = `test-${crypto.randomUUID()}`;
  names.push(name);
  return name;
}

afterAll(async () => {
  const root = await navigator.storage.getDirectory();
  for (const name of names) await root.removeEntry(name, { recursive: true });
});

/** Reads in a worker; ends it as a closed page ends when `killAt` bytes are there. */
async function readInWorker(job: ReadJob, killAt = Infinity): Promise<ReadNews> {
  const worker = new Worker(new URL('../../test/cache-worker.ts', import.meta.url), { type: 'module' });
  try {
    return await new Promise<ReadNews>((resolve, reject) => {
      worker.addEventListener('error', ({ message }) => reject(new Error(message)));
      worker.addEventListener('message', ({ data }: MessageEvent<ReadNews>) => {
        if (data.kind === 'done' || data.loaded >= killAt) resolve(data);
      });
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- workers take none
      worker.postMessage(job);
    });
  } finally {
    worker.terminate();
  }
}

const readOnPage = (job: ReadJob): Promise<ReadNews> => readAll(job, () => {});

describe.each([
  ['in a worker', readInWorker],
  ['on the page', readOnPage],
])('%s', (_, read) => {
  test('a file is fetched once, and is there without network', async () => {
    const cacheName = fresh();
    expect(await read({ cacheName, bytes })).toEqual({ kind: 'done', isRight: true, sent: bytes });
    expect(await read({ cacheName, bytes, isDown: true })).toEqual({ kind: 'done', isRight: true, sent: 0 });
    const cache = await ModelCache.open({ name: cacheName });
    expect(await cache.list()).toMatchObject([{ bytes, files: [{ path: 'weights', complete: true }] }]);
    expect(await cache.evict('https://models.example/')).toBe(true);
    expect(await cache.bytes()).toBe(0);
  });
});

test('a worker that is killed amid a download leaves what it got to the next', async () => {
  const cacheName = fresh();
  await readInWorker({ cacheName, bytes }, 3 * 2 ** 20);
  const cache = await ModelCache.open({ name: cacheName });
  const [model] = await cache.list();
  expect(model!.files[0]!.complete).toBe(false);
  expect(model!.bytes).toBeGreaterThanOrEqual(3 * 2 ** 20);
  const news = await readInWorker({ cacheName, bytes });
  expect(news).toMatchObject({ isRight: true });
  expect((news as ReadNews & { kind: 'done' }).sent).toBeLessThanOrEqual(bytes - 3 * 2 ** 20);
});

// More than once, since what they would do to each other takes its moment: without care half of such rounds fail.
test.each([1, 2, 3])('a page and two workers fetch a file once between them: round %i', async () => {
  const job = { cacheName: fresh(), bytes: BLOCK_BYTES + 4321 };
  const all = await Promise.all([readInWorker(job), readOnPage(job), readInWorker(job)]);
  expect(all).toEqual(all.map(() => ({ kind: 'done', isRight: true, sent: expect.any(Number) })));
  const sent = all.reduce((sum, news) => sum + (news.kind === 'done' ? news.sent : 0), 0);
  expect(sent).toBe(job.bytes);
});
