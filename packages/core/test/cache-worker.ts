import { ModelCache } from '../src/cache/model-cache.ts';
import { fakeHost } from './fake-host.ts';

// Another page of the origin, for tests: reads a file through the cache, and says what came.

export interface ReadJob {
  cacheName: string;
  bytes: number;
  /** Whether nothing answers. */
  isDown?: boolean;
}

export type ReadNews =
  { kind: 'progress'; loaded: number } | { kind: 'done'; isRight: boolean; sent: number; error?: string };

/** The contents that the host serves. */
export function pattern(bytes: number): Uint8Array<ArrayBuffer> {
  const contents = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) contents[i] = Math.imul(i, 0x9e3779b1) >>> 21;
  return contents;
}

/** Reads the whole file in pieces of 5 MiB and compares every byte. */
export async function readAll(
  { cacheName, bytes, isDown = false }: ReadJob,
  onLoaded: (loaded: number) => void,
): Promise<ReadNews & { kind: 'done' }> {
  const contents = pattern(bytes);
  const host = fakeHost({ weights: contents });
  host.isDown = isDown;
  const cache = await ModelCache.open({ name: cacheName });
  const store = cache.store('https://models.example/', {
    fetch: host.fetch,
    onProgress: ({ loaded }) => onLoaded(loaded),
  });
  try {
    const file = await store.open('weights');
    let isRight = (await file.size()) === bytes;
    const step = 5 * 2 ** 20;
    for (let at = 0; at < bytes; at += step) {
      const part = await file.read(at, Math.min(step, bytes - at));
      isRight &&= part.every((byte, i) => byte === contents[at + i]);
    }
    return { kind: 'done', isRight, sent: host.sent };
  } catch (error) {
    return { kind: 'done', isRight: false, sent: host.sent, error: String(error) };
  } finally {
    store.dispose();
  }
}

if (typeof document === 'undefined') {
  addEventListener('message', async ({ data }: MessageEvent<ReadJob>) => {
    postMessage(await readAll(data, (loaded) => postMessage({ kind: 'progress', loaded })));
  });
}
