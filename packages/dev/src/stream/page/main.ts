import type { StreamNews, StreamPage } from '../types.ts';

declare global {
  var calotypeStream: StreamPage;
}

const news: StreamNews[] = [];
globalThis.calotypeStream = {
  news,
  start(digest) {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
    worker.addEventListener('message', ({ data }: MessageEvent<StreamNews>) => news.push(data));
    worker.addEventListener('error', ({ message }) => news.push({ kind: 'failed', message }));
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- workers take none
    worker.postMessage(digest);
  },
};
