import { describe, expect, test } from 'vitest';
import { SourceError } from '../errors.ts';
import { blobSource } from './blob-source.ts';
import { bytesSource } from './bytes-source.ts';
import { directoryStore } from './directory-store.ts';
import { mapStore } from './map-store.ts';
import { normalizePath, resolveSibling } from './path.ts';
import type { ByteSource } from './source.ts';
import { urlSource } from './url-source.ts';
import { urlStore } from './url-store.ts';

const contents = Uint8Array.from({ length: 100 }, (_, i) => i);
const url = 'https://example.com/model.onnx';

interface Server {
  /** Ranges are served unless false; `hidden` leaves out Content-Range, as an unwilling CORS set-up does. */
  ranges?: boolean | 'hidden';
  /** Statuses (0: the connection breaks) given before any answer. */
  failures?: number[];
  file?: Uint8Array<ArrayBuffer>;
}

function serve(server: Server = {}): { fetch: typeof fetch; requests: string[] } {
  const { ranges = true, failures = [], file = contents } = server;
  const requests: string[] = [];
  const answer = async (input: string | URL, init?: RequestInit): Promise<Response> => {
    init?.signal?.throwIfAborted();
    const range = new Headers(init?.headers).get('range');
    requests.push(`${String(input)} ${range ?? 'whole'}`);
    const failure = failures.shift();
    if (failure === 0) throw new TypeError('Failed to fetch');
    if (failure !== undefined) return new Response('sorry', { status: failure });
    const parts = /^bytes=(\d+)-(\d+)$/.exec(range ?? '');
    if (!parts || ranges === false) return new Response(file);
    const [from, to] = [Number(parts[1]), Math.min(Number(parts[2]), file.length - 1)];
    if (from >= file.length) return new Response(null, { status: 416 });
    const headers = ranges === 'hidden' ? {} : { 'content-range': `bytes ${from}-${to}/${file.length}` };
    return new Response(file.slice(from, to + 1), { status: 206, headers });
  };
  return { fetch: answer as typeof fetch, requests };
}

describe('every source', () => {
  const sources: [string, () => ByteSource][] = [
    ['bytes', () => bytesSource('f', contents)],
    ['blob', () => blobSource('f', new Blob([contents]))],
    ['url with ranges', () => urlSource(url, serve())],
    ['url without ranges', () => urlSource(url, serve({ ranges: false }))],
    ['url that hides its size', () => urlSource(url, serve({ ranges: 'hidden' }))],
    [
      'url that fails at first',
      () => urlSource(url, { ...serve({ failures: [0, 503, 429] }), backoffMs: 1 }),
    ],
  ];
  test.each(sources)('%s', async (_, make) => {
    const source = make();
    expect(await source.size()).toBe(100);
    expect([...(await source.read(10, 3))]).toEqual([10, 11, 12]);
    expect([...(await source.read(97, 3))]).toEqual([97, 98, 99]);
    expect(await source.read(100, 0)).toHaveLength(0);
    await expect(source.read(98, 3)).rejects.toThrow(SourceError);
    await expect(source.read(-1, 3)).rejects.toThrow(SourceError);
    await expect(source.read(0, 1.5)).rejects.toThrow(SourceError);
    await expect(source.read(0, 1, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
  });
});

describe('urlSource', () => {
  test('a server without ranges is asked once', async () => {
    const { fetch, requests } = serve({ ranges: false });
    const source = urlSource(url, { fetch });
    await Promise.all([source.read(0, 4), source.read(4, 4), source.size()]);
    expect(requests).toHaveLength(1);
  });

  test('an empty file', async () => {
    expect(await urlSource(url, serve({ file: new Uint8Array() })).size()).toBe(0);
  });

  test('a status that will not change is not retried and is told', async () => {
    const { fetch, requests } = serve({ failures: [404] });
    await expect(urlSource(url, { fetch }).size()).rejects.toMatchObject({
      name: 'SourceError',
      url,
      status: 404,
    });
    expect(requests).toHaveLength(1);
  });

  test('retries are bounded; a later call tries again', async () => {
    const { fetch, requests } = serve({ failures: [500, 500, 500] });
    const source = urlSource(url, { fetch, retries: 2, backoffMs: 1 });
    await expect(source.size()).rejects.toMatchObject({ status: 500 });
    expect(requests).toHaveLength(3);
    expect(await source.size()).toBe(100);
  });

  test('a file that changes between two reads', async () => {
    let file = contents;
    const source = urlSource(url, { fetch: (...request) => serve({ file }).fetch(...request) });
    await source.read(0, 10);
    file = contents.slice(0, 50);
    await expect(source.read(0, 10)).rejects.toThrow('changed on the server (100 bytes, now 50 bytes)');
  });

  test('an abort ends the wait between retries, and leaves other callers alone', async () => {
    const { fetch } = serve({ failures: [503] });
    const source = urlSource(url, { fetch, backoffMs: 60_000 });
    const controller = new AbortController();
    const first = source.read(0, 1, controller.signal);
    const second = source.read(1, 1);
    setTimeout(() => controller.abort(new Error('enough')), 50);
    const third = source.read(2, 1, AbortSignal.timeout(1));
    await expect(third).rejects.toThrow('timeout');
    await expect(first).rejects.toThrow('enough');
    expect([...(await second)]).toEqual([1]);
  });
});

describe('connections', () => {
  /** Bodies that end as `ends` say, one after the other: after so many bytes by an error, or by silence. */
  function breaking(ends: { after: number; how: 'error' | 'silence' }[]): {
    fetch: typeof fetch;
    ranges: string[];
  } {
    const ranges: string[] = [];
    const answer = async (input: string | URL, init?: RequestInit): Promise<Response> => {
      const range = new Headers(init?.headers).get('range')!;
      const response = await serve().fetch(input, init);
      const end = range === 'bytes=0-0' ? undefined : ends.shift();
      if (range !== 'bytes=0-0') ranges.push(range);
      if (!end) return response;
      const bytes = new Uint8Array(await response.arrayBuffer()).slice(0, end.after);
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(bytes),
        pull: (controller) =>
          end.how === 'error' ? controller.error(new TypeError('network error')) : new Promise(() => {}),
      });
      return new Response(body, { status: 206, headers: response.headers });
    };
    return { fetch: answer as typeof fetch, ranges };
  }

  test('one that breaks or falls silent is taken up from the byte it reached', async () => {
    const { fetch, ranges } = breaking([
      { after: 30, how: 'error' },
      { after: 20, how: 'silence' },
      { after: 0, how: 'silence' },
    ]);
    const source = urlSource(url, { fetch, backoffMs: 1, stallMs: 30 });
    expect(await source.read(10, 80)).toEqual(contents.slice(10, 90));
    expect(ranges).toEqual(['bytes=10-89', 'bytes=40-89', 'bytes=60-89', 'bytes=60-89']);
  });

  test('retries are counted anew with every byte, and bounded without one', async () => {
    const ends = Array.from({ length: 20 }, () => ({ after: 1, how: 'error' as const }));
    const steady = breaking(ends);
    const patient = urlSource(url, { fetch: steady.fetch, backoffMs: 1, retries: 1 });
    expect(await patient.read(0, 50)).toEqual(contents.slice(0, 50));
    const { fetch } = breaking(Array.from({ length: 5 }, () => ({ after: 0, how: 'error' as const })));
    await expect(urlSource(url, { fetch, backoffMs: 1, retries: 1 }).read(0, 50)).rejects.toMatchObject({
      name: 'SourceError',
      retryable: true,
    });
  });
});

describe('stores', () => {
  test('urlStore', async () => {
    const { fetch, requests } = serve({ failures: [404] });
    const store = urlStore('https://example.com/repo?token=a', { fetch });
    expect(await store.has('gone')).toBe(false);
    const source = await store.open('unet/./a b#1.onnx');
    expect(await source.size()).toBe(100);
    expect(requests[1]).toBe('https://example.com/repo/unet/a%20b%231.onnx?token=a bytes=0-0');
    await expect(store.open('../secret')).rejects.toThrow(SourceError);
  });

  test.each([200, 206])(
    'urlStore of a host that answers with its page (%i) for what it has not',
    async (status) => {
      const headers = { 'content-type': 'text/html; charset=utf-8', 'content-range': 'bytes 0-0/900' };
      const fetch = async (): Promise<Response> => new Response('<', { status, headers });
      const store = urlStore('https://example.com/repo/', { fetch });
      expect(await store.has('vae_encoder/model.onnx')).toBe(false);
      const source = await store.open('model_index.json');
      await expect(source.read(0, 1)).rejects.toThrow('answered with a web page');
    },
  );

  test.each([
    ['a record', mapStore({ './a/b': contents, c: new Blob([contents]) })],
    [
      'a map',
      mapStore(
        new Map<string, Blob | Uint8Array<ArrayBuffer>>([
          ['a/b', contents],
          ['c', new Blob([contents])],
        ]),
      ),
    ],
    ['a directory', directoryStore(directory({ a: directory({ b: contents }), c: contents }))],
  ])('%s', async (_, store) => {
    expect(
      await Promise.all(['a/b', 'a/../c', 'a', 'd', 'a/d', 'toString'].map((path) => store.has(path))),
    ).toEqual([true, true, false, false, false, false]);
    expect([...(await (await store.open('a/b')).read(3, 2))]).toEqual([3, 4]);
    expect(await (await store.open('c')).size()).toBe(100);
    await expect(store.open('d')).rejects.toThrow(SourceError);
    await expect(store.has('../a')).rejects.toThrow('leaves the folder');
  });
});

/** A stand-in for the browser's handles. */
function directory(entries: Record<string, unknown>): FileSystemDirectoryHandle {
  const find = (name: string, isFile: boolean): unknown => {
    if (!Object.hasOwn(entries, name)) throw new DOMException('gone', 'NotFoundError');
    const entry = entries[name];
    if (entry instanceof Uint8Array !== isFile) throw new DOMException('other kind', 'TypeMismatchError');
    return entry;
  };
  const handle = {
    name: 'root',
    getDirectoryHandle: async (name: string) => find(name, false),
    getFileHandle: async (name: string) => {
      const file = find(name, true) as Uint8Array<ArrayBuffer>;
      return { getFile: async () => new Blob([file]) };
    },
  };
  return handle as unknown as FileSystemDirectoryHandle;
}

test('paths', () => {
  expect(normalizePath('a//b/./c/../d')).toBe('a/b/d');
  expect(resolveSibling('unet/model.onnx', '../weights.pb')).toBe('weights.pb');
  expect(resolveSibling('model.onnx', 'data/w 1')).toBe('data/w 1');
  for (const bad of ['', '.', '..', 'a/../..', '/a', 'C:/a', 'http://a/b', 'a\\b', 'a\nb']) {
    expect(() => normalizePath(bad), bad).toThrow(SourceError);
  }
  expect(() => resolveSibling('unet/model.onnx', '../../w')).toThrow(SourceError);
});
