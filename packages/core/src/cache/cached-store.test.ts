import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { fakeHost, type FakeHost } from '../../test/fake-host.ts';
import { fakeLocks, fakeOpfs, type FakeOpfs } from '../../test/fake-opfs.ts';
import { DigestError, FileChangedError, QuotaError, SourceError } from '../errors.ts';
import type { SyncFileHandle } from './chunk-folder.ts';
import type { CachedStore, FetchProgress } from './cached-store.ts';
import { BLOCK_BYTES } from '../source/source.ts';
import { type CachedStoreOptions, ModelCache, type ModelCacheOptions } from './model-cache.ts';

const MiB = 2 ** 20;
const url = 'https://models.example/';

/** Three chunks and a bit. */
const weights = Uint8Array.from({ length: 3 * BLOCK_BYTES + 1001 }, (_, i) => (i * 2_654_435_761) >>> 13);
const other = Uint8Array.from(weights, (byte) => byte ^ 255);
const graph = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

interface Setup {
  host: FakeHost;
  opfs: FakeOpfs;
  locks: LockManager;
  cache: ModelCache;
  /** A page or worker of its own on the same origin. */
  open: (options?: CachedStoreOptions, inWorker?: boolean) => Promise<CachedStore>;
}

async function setup(options: { sync?: boolean } & Pick<ModelCacheOptions, 'maxBytes'> = {}): Promise<Setup> {
  const host = fakeHost({ weights, graph });
  const opfs = fakeOpfs();
  const locks = fakeLocks();
  const openCache = (inWorker = options.sync): Promise<ModelCache> =>
    ModelCache.open({ ...options, root: inWorker ? opfs.workerRoot : opfs.pageRoot, locks });
  return {
    host,
    opfs,
    locks,
    cache: await openCache(),
    open: async (storeOptions = {}, inWorker) =>
      (await openCache(inWorker)).store(url, { fetch: host.fetch, backoffMs: 1, ...storeOptions }),
  };
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

describe.each([
  ['in a worker', true],
  ['on the main thread', false],
])('%s', (_, sync) => {
  test('what was read once is never fetched again, and works without network', async () => {
    const { host, open } = await setup({ sync });
    const first = await open();
    const file = await first.open('weights');
    expect(await file.size()).toBe(weights.length);
    expect(
      equal(await file.read(BLOCK_BYTES - 5, 10 * MiB), weights.slice(BLOCK_BYTES - 5, 18 * MiB - 5)),
    ).toBe(true);
    expect(host.sent).toBeLessThan(3 * BLOCK_BYTES + 10);
    await (await first.open('graph')).read(0, 5000);
    expect(await first.has('none')).toBe(false);
    await first.finish();
    expect(host.sent).toBe(weights.length + graph.length);
    first.dispose();

    host.isDown = true;
    const second = await open();
    expect(equal(await (await second.open('weights')).read(0, weights.length), weights)).toBe(true);
    expect(equal(await (await second.open('graph')).read(7, 100), graph.slice(7, 107))).toBe(true);
    expect(await second.has('none')).toBe(false);
    expect(await second.has('weights')).toBe(true);
    await expect(second.has('never asked for')).rejects.toThrow(SourceError);
    expect(second.report().files[0]!.notes).toEqual([expect.stringContaining('cannot be reached')]);
  });

  test('20 dropped connections cost no byte twice', async () => {
    const { host, open } = await setup({ sync });
    let drops = 20;
    host.drop = () => (drops > 0 ? Math.floor((drops-- * 7919 * 4099) % MiB) : undefined);
    const file = await (await open({ digests: { weights: sha256(weights) } })).open('weights');
    expect(equal(await file.read(0, weights.length), weights)).toBe(true);
    expect(drops).toBe(0);
    expect(host.sent).toBe(weights.length);
  });

  test('a page that is killed amid a download goes on where it was', async () => {
    const { host, open, cache } = await setup({ sync });
    const killed = new AbortController();
    const first = await open({
      parallel: 1,
      onProgress: ({ loaded }) => {
        if (loaded > 1.5 * BLOCK_BYTES) killed.abort(new Error('killed'));
      },
    });
    await expect((await first.open('weights')).read(0, weights.length, killed.signal)).rejects.toThrow(
      'killed',
    );
    first.dispose();
    await new Promise((resolve) => setTimeout(resolve, 20));

    const [model] = await cache.list();
    expect(model!.files[0]).toMatchObject({ path: 'weights', complete: false, size: weights.length });
    expect(model!.bytes).toBeGreaterThan(1.4 * BLOCK_BYTES);
    const before = host.sent;
    const second = await open();
    expect(equal(await (await second.open('weights')).read(0, weights.length), weights)).toBe(true);
    expect(host.sent - before).toBe(weights.length - model!.bytes);
    expect((await cache.list())[0]!.files[0]!.complete).toBe(true);
  });

  test('storage that runs out: a typed error, and nothing of the file stays', async () => {
    const { opfs, open, cache } = await setup({ sync });
    opfs.quota = 2 * BLOCK_BYTES;
    const file = await (await open()).open('weights');
    await expect(file.read(0, weights.length)).rejects.toThrow(QuotaError);
    expect((await cache.list())[0]?.files ?? []).toEqual([]);
    expect(opfs.usage).toBeLessThan(1000);
    opfs.quota = Infinity;
    expect(equal(await file.read(0, weights.length), weights)).toBe(true);
  });

  test('a wrong digest: a typed error, nothing stays, and the next read begins anew', async () => {
    const { host, opfs, open } = await setup({ sync });
    host.files['weights'] = other;
    const file = await (await open({ digests: { weights: sha256(weights) } })).open('weights');
    await expect(file.read(0, weights.length)).rejects.toMatchObject({
      name: 'DigestError',
      expected: sha256(weights),
      actual: sha256(other),
    });
    expect(opfs.usage).toBeLessThan(1000);
    host.files['weights'] = weights;
    expect(equal(await file.read(0, weights.length), weights)).toBe(true);
  });

  test('a server that ignores ranges', async () => {
    const { host, open } = await setup({ sync });
    host.ranges = false;
    let drops = 3;
    host.drop = () => (drops-- > 0 ? 10 * MiB + drops * MiB : undefined);
    const store = await open();
    const file = await store.open('weights');
    expect(await file.size()).toBe(weights.length);
    expect(equal(await file.read(5, 20 * MiB), weights.slice(5, 20 * MiB + 5))).toBe(true);
    expect(store.report().files[0]!.notes).toEqual([expect.stringContaining('ignores range requests')]);
    store.dispose();
    host.isDown = true;
    expect(equal(await (await (await open()).open('weights')).read(0, weights.length), weights)).toBe(true);
  });
});

describe('servers', () => {
  test.each([
    ['hides Content-Range', (host: FakeHost) => void (host.ranges = 'hidden'), 'hides the Content-Range'],
    ['compresses', (host: FakeHost) => void (host.encoding = 'gzip'), 'compresses'],
  ])('one that %s is asked for whole files', async (_, misbehave, reason) => {
    const { host, open } = await setup();
    misbehave(host);
    const store = await open();
    expect(equal(await (await store.open('weights')).read(0, weights.length), weights)).toBe(true);
    expect(store.report().files[0]!.notes[0]).toContain(reason);
  });

  test.each([
    ['ETag', (host: FakeHost) => void (host.etag = () => '"two"')],
    ['Last-Modified', (host: FakeHost) => void (host.lastModified = 'Wed, 01 Jan 2025 00:00:00 GMT')],
    ['size', (host: FakeHost) => void (host.files['weights'] = other.slice(1))],
  ])('a changed %s is noticed', async (what, change) => {
    const { host, open } = await setup();
    if (what !== 'ETag') host.etag = undefined;
    host.lastModified = 'Mon, 01 Jan 2024 00:00:00 GMT';
    const first = await open();
    await (await first.open('weights')).read(0, weights.length);
    first.dispose();
    host.files['weights'] = other;
    change(host);
    const file = await (await open()).open('weights');
    const now = host.files['weights'];
    expect(equal(await file.read(0, now.length), now)).toBe(true);
  });

  test('a file that changes while it is read', async () => {
    const { host, open, opfs } = await setup();
    const file = await (await open()).open('weights');
    await file.read(0, 3 * MiB);
    host.files['weights'] = other;
    host.etag = () => '"two"';
    await expect(file.read(BLOCK_BYTES, 4 * MiB)).rejects.toThrow(FileChangedError);
    expect(opfs.usage).toBeLessThan(1000);
    expect(equal(await file.read(0, weights.length), other)).toBe(true);
  });

  test('a file that ends early, again and again', async () => {
    const { host, open, cache } = await setup();
    host.truncateTo = 0;
    const file = await (await open({ retries: 2 })).open('weights');
    await expect(file.read(0, weights.length)).rejects.toThrow('the answer ended at byte');
    expect((await cache.list())[0]!.files[0]!.complete).toBe(false);
    host.truncateTo = undefined;
    expect(equal(await file.read(0, weights.length), weights)).toBe(true);
  });

  test('an ETag that is a digest is checked; a given digest spares the server', async () => {
    const { host, open } = await setup();
    host.etag = () => `"${sha256(weights)}"`;
    const first = await open();
    await (await first.open('weights')).read(0, weights.length);
    expect(first.report().files[0]!.sha256).toBe(sha256(weights));
    const asked = host.requests.length;
    const second = await open({ digests: { weights: sha256(weights).toUpperCase() } });
    await (await second.open('weights')).read(0, weights.length);
    expect(host.requests.length).toBe(asked);
    host.etag = () => `"${sha256(graph)}"`;
    await expect((await (await open()).open('weights')).read(0, weights.length)).rejects.toThrow(DigestError);
  });

  test('without validator what was left half is begun anew, unless a digest is known', async () => {
    const { host, open } = await setup();
    host.etag = undefined;
    await (await (await open()).open('weights')).read(0, 3 * MiB);
    const second = await open();
    await (await second.open('weights')).read(0, 3 * MiB);
    expect(host.sent).toBe(2 * BLOCK_BYTES);
    expect(second.report().files[0]!.notes).toEqual([
      expect.stringContaining('neither ETag nor Last-Modified'),
    ]);
    await (await (await open({ digests: { weights: sha256(weights) } })).open('weights')).read(0, 3 * MiB);
    expect(host.sent).toBe(2 * BLOCK_BYTES);
  });

  test('reading the structure of a large file does not fetch it', async () => {
    const { host, open } = await setup();
    const large = new Uint8Array(4 * BLOCK_BYTES + 1);
    large.set(graph, 9 * MiB);
    host.files = { large };
    const file = await (await open()).open('large');
    expect(equal(await file.read(9 * MiB, 1000), graph.slice(0, 1000))).toBe(true);
    expect(host.sent).toBe(1000);
  });

  test('a small file comes chunk by chunk, whatever is read of it, and no byte twice', async () => {
    const { host, open } = await setup();
    const file = await (await open()).open('weights');
    for (let at = 0; at < weights.length; at += MiB / 2) {
      expect(equal(await file.read(at, 9), weights.slice(at, at + 9))).toBe(true);
    }
    expect(host.sent).toBe(weights.length);
    // One more asks for the size.
    expect(host.requests).toHaveLength(1 + 4);
  });

  test('nor is a small file fetched for its structure where the store is sparse', async () => {
    const { host, open } = await setup();
    const file = await (await open({ sparse: true })).open('weights');
    expect(equal(await file.read(9 * MiB, 1000), weights.slice(9 * MiB, 9 * MiB + 1000))).toBe(true);
    expect(host.sent).toBe(1000);
  });

  test('an abort leaves other readers alone', async () => {
    const { open } = await setup();
    const file = await (await open()).open('weights');
    const controller = new AbortController();
    const first = file.read(0, 3 * MiB, controller.signal);
    const second = file.read(2 * MiB, 3 * MiB);
    setTimeout(() => controller.abort(new Error('enough')), 5);
    await expect(first).rejects.toThrow('enough');
    expect(equal(await second, weights.slice(2 * MiB, 5 * MiB))).toBe(true);
  });

  test('progress in bytes', async () => {
    const { open } = await setup();
    const seen: FetchProgress[] = [];
    const store = await open({ onProgress: (progress) => seen.push(progress) });
    await (await store.open('weights')).read(0, weights.length);
    expect(seen.at(-1)).toEqual({
      path: 'weights',
      loaded: weights.length,
      total: weights.length,
      cached: 0,
    });
    expect(seen.every(({ loaded }, i) => i === 0 || loaded >= seen[i - 1]!.loaded)).toBe(true);
  });
});

describe('tabs and models', () => {
  test('pages and workers fetch files once between them', async () => {
    const { host, open } = await setup();
    const whereabouts = [true, false, true, false];
    await Promise.all(
      whereabouts.map(async (inWorker) => {
        const store = await open({}, inWorker);
        for (const [path, contents] of [
          ['graph', graph],
          ['weights', weights],
        ] as const) {
          const file = await store.open(path);
          for (let at = 0; at < contents.length; at += 5 * MiB) {
            const part = contents.subarray(at, at + 5 * MiB);
            expect(equal(await file.read(at, part.length), part)).toBe(true);
          }
        }
      }),
    );
    expect(host.sent).toBe(graph.length + weights.length);
  });

  test('what a closed page still has open is waited for', async () => {
    const { opfs, open } = await setup({ sync: true });
    const store = await open();
    const file = await store.open('weights');
    await file.size();
    const path = opfs.paths().find((name) => name.endsWith('note.json'))!;
    const names = path.split('/').slice(0, -1);
    let folder = opfs.workerRoot;
    for (const name of names) folder = await folder.getDirectoryHandle(name);
    for await (const generation of folder.values()) {
      if (generation.kind !== 'directory') continue;
      const chunk = (await generation.getFileHandle('0', { create: true })) as SyncFileHandle;
      const left = await chunk.createSyncAccessHandle();
      setTimeout(() => left.close(), 50);
    }
    expect(equal(await file.read(0, 3 * MiB), weights.subarray(0, 3 * MiB))).toBe(true);
  });

  test('two tabs, and a server that ignores ranges', async () => {
    const { host, open } = await setup({ sync: true });
    host.ranges = false;
    const [a, b] = await Promise.all([open(), open()]);
    const files = await Promise.all([a.open('weights'), b.open('weights')]);
    for (const bytes of await Promise.all(files.map((file) => file.read(0, weights.length)))) {
      expect(equal(bytes, weights)).toBe(true);
    }
  });

  test('lists, evicts, and spares what is open', async () => {
    const { open, cache, opfs } = await setup();
    const store = await open();
    await (await store.open('graph')).read(0, 10);
    expect(await cache.list()).toMatchObject([
      {
        url,
        bytes: graph.length,
        files: [{ path: 'graph', bytes: 5000, size: 5000, complete: true }],
      },
    ]);
    expect(await cache.bytes()).toBe(5000);
    expect(await cache.evict(`${url}?token=1`)).toBe(false);
    store.dispose();
    expect(await cache.evict(url)).toBe(true);
    expect(await cache.list()).toEqual([]);
    expect(opfs.paths()).toEqual(['calotype/about.json']);
    expect(await cache.evict('https://never.example/')).toBe(true);
  });

  test('the model used longest ago makes room', async () => {
    const { host, cache } = await setup({ maxBytes: 5 * BLOCK_BYTES });
    host.files = { 'a/w': weights, 'b/w': weights, 'c/w': weights.slice(0, BLOCK_BYTES) };
    for (const name of ['c', 'a', 'b']) {
      const store = cache.store(`${url}${name}`, { fetch: host.fetch });
      await (await store.open('w')).read(0, 3 * MiB);
      await store.finish();
      store.dispose();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    // c would have fitted beside b, but had not been used for longer than a.
    expect((await cache.list()).map((model) => model.url)).toEqual([`${url}b/`]);
    const store = cache.store(`${url}huge`, { fetch: host.fetch });
    host.files['huge/w'] = new Uint8Array(6 * BLOCK_BYTES);
    await expect((await store.open('w')).read(0, 3 * MiB)).rejects.toMatchObject({
      name: 'QuotaError',
      requestedBytes: 6 * BLOCK_BYTES,
      availableBytes: 5 * BLOCK_BYTES,
    });
  });
});
