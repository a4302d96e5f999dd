import { createSession, ModelCache, Tensor } from '@calotype/core';
import { columns, fillContents, modelFile, rows, tensorBytes, weightsFile } from '../contents.ts';
import type { StreamNews } from '../types.ts';

/** Rows of each tensor read back at once: 2 MiB. */
const ROWS_AT_ONCE = 32;

function tell(news: StreamNews): void {
  postMessage(news);
}

async function load(digest: string): Promise<void> {
  const started = performance.now();
  const cache = await ModelCache.open();
  const store = cache.store('../model/', {
    digests: { [weightsFile]: digest },
    onProgress: ({ loaded, total, cached }) => tell({ kind: 'progress', loaded, total, cached }),
  });
  using session = await createSession({ store, path: modelFile }, { fallback: 'forbid' });
  await session.prepare({ rows: [ROWS_AT_ONCE] });
  await store.finish();
  tell({
    kind: 'loaded',
    seconds: (performance.now() - started) / 1000,
    gpuBytes: session.engine!.buffers.peakBytes,
    cachedBytes: await cache.bytes(),
  });

  let elements = 0;
  let wrong = 0;
  const expected = new Uint32Array(ROWS_AT_ONCE * columns);
  for (let row = 0; row < rows; row += ROWS_AT_ONCE) {
    const indices = Int32Array.from({ length: ROWS_AT_ONCE }, (_, i) => row + i);
    const outputs = await session.run({ rows: new Tensor('int32', [ROWS_AT_ONCE], indices) });
    for (const [name, tensor] of Object.entries(outputs)) {
      const actual = new Uint32Array(((await tensor.data()) as Int32Array<ArrayBuffer>).buffer);
      fillContents(expected, Number(name.slice(1)) * (tensorBytes / 4) + row * columns);
      for (let i = 0; i < expected.length; i++) wrong += Number(actual[i] !== expected[i]);
      elements += expected.length;
      tensor.dispose();
    }
  }
  tell({ kind: 'compared', elements, wrong });
}

addEventListener('message', ({ data }: MessageEvent<string>) => {
  load(data).catch((error: unknown) => tell({ kind: 'failed', message: String(error) }));
});
