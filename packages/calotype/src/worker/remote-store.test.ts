import type { FetchProgress } from '@calotype/core';
import { afterEach, expect, test, vi } from 'vitest';
import { CpuThread } from './cpu-thread.ts';
import { RemoteStore } from './remote-store.ts';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** A thread that does the jobs of `CpuService` here. */
function thread(): CpuThread {
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  return new CpuThread(() => {
    throw new Error('no workers in Node');
  });
}

test('how files are fetched goes with the request for them', async () => {
  const fetch = vi.fn(async () => new Response(null, { status: 503 }));
  vi.stubGlobal('fetch', fetch);
  for (const retries of [0, 2]) {
    fetch.mockClear();
    const fetching = { retries, backoffMs: 1, httpCache: 'no-store' } as const;
    const store = new RemoteStore(thread(), 'https://models.test/a/', { fetching });
    const source = await store.open('vocab.txt');
    await expect(source.read(0, 4)).rejects.toMatchObject({ name: 'SourceError', status: 503 });
    expect(fetch).toHaveBeenCalledTimes(retries + 1);
    expect(fetch.mock.lastCall).toMatchObject(['https://models.test/a/vocab.txt', { cache: 'no-store' }]);
    store.dispose();
  }
});

test('bytes that come are told, with the report, and the last of them always', async () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i);
  vi.stubGlobal('fetch', async () => new Response(bytes));
  const heard: FetchProgress[] = [];
  const store = new RemoteStore(thread(), 'https://models.test/a/', {
    cache: false,
    onFetch: (progress) => heard.push(progress),
  });
  const source = await store.open('vocab.txt');
  for (let at = 0; at < 1000; at += 100) {
    expect(await source.read(at, 100)).toEqual(bytes.subarray(at, at + 100));
  }
  expect(heard.at(-1)).toEqual({ path: 'vocab.txt', loaded: 1000, total: 1000, cached: 0 });
  // Ten pieces within a few milliseconds.
  expect(heard.length).toBeLessThan(10);
  expect(store.report()).toMatchObject({ cache: 'none', files: [{ path: 'vocab.txt', loadedBytes: 1000 }] });
  store.dispose();
});
