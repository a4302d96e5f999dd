import { copyFile, cp, mkdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Page } from '@calotype/dev/playwright';
import { sd15, tokenizer } from './full-size-model.ts';
import type { BenchPage } from './types.ts';

declare const calotypeBench: BenchPage;

/** Writes Stable Diffusion 1.5 in full size to a folder, its weights hash-filled by the page. Once: later calls find it. */
export async function makeFullSizeFolder(page: Page, folder: string, fixtures: string): Promise<void> {
  const marker = join(folder, 'model_index.json');
  if (await stat(marker).catch(() => undefined)) return;
  for (const [component, graph] of Object.entries(sd15.graphs)) {
    await mkdir(join(folder, component), { recursive: true });
    await copyFile(join(fixtures, `${graph}.onnx`), join(folder, component, 'model.onnx'));
    // A graph has all its weights in one file.
    const [download] = await Promise.all([
      page.waitForEvent('download', { timeout: 120_000 }),
      page.evaluate((name) => calotypeBench.downloadWeights(name), graph),
    ]);
    await download.saveAs(join(folder, component, download.suggestedFilename()));
  }
  await cp(join(fixtures, tokenizer, 'tokenizer'), join(folder, 'tokenizer'), { recursive: true });
  // Last the one that says that all is there.
  for (const [path, config] of Object.entries(sd15.configs).toSorted(([a], [b]) => (a > b ? -1 : 1))) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), JSON.stringify(config));
  }
}
