import { createWriteStream } from 'node:fs';
import { copyFile, cp, mkdir, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import type { Page } from '@calotype/dev/playwright';
import { sd15, tokenizer } from './full-size-model.ts';
import type { BenchPage } from './types.ts';

declare const calotypeBench: BenchPage;

/** Writes Stable Diffusion 1.5 in full size to a folder, its weights hash-filled by the page. Once: later calls find it. */
export async function makeFullSizeFolder(page: Page, folder: string, fixtures: string): Promise<void> {
  if (await stat(join(folder, 'model_index.json')).catch(() => undefined)) return;
  for (const [component, graph] of Object.entries(sd15.graphs)) {
    await mkdir(join(folder, component), { recursive: true });
    await copyFile(join(fixtures, `${graph}.onnx`), join(folder, component, 'model.onnx'));
    // The name by which the graphs know the file of their weights.
    await receive(join(folder, component, 'model.onnx_data'), (url) =>
      page.evaluate(([name, to]) => calotypeBench.sendWeights(name, to), [graph, url] as const),
    );
  }
  await cp(join(fixtures, tokenizer, 'tokenizer'), join(folder, 'tokenizer'), { recursive: true });
  for (const [path, config] of Object.entries(sd15.configs)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), JSON.stringify(config));
  }
}

/** Writes what `send` posts to the URL that it gets, each piece at the offset in its query. */
async function receive(file: string, send: (url: string) => Promise<void>): Promise<void> {
  await writeFile(file, '');
  const errors: unknown[] = [];
  const server = createServer((request, response) => {
    const start = Number(new URL(request.url ?? '/', 'http://localhost').searchParams.get('offset'));
    const out = createWriteStream(file, { flags: 'r+', start });
    out.on('error', (error) => errors.push(error));
    out.on('close', () => response.end());
    request.pipe(out);
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  try {
    await send(`http://localhost:${(server.address() as AddressInfo).port}/`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
  if (errors.length > 0) throw new Error(`${file} could not be written`, { cause: errors[0] });
}
