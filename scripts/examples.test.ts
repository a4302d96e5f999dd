import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostPages } from '@calotype/dev/browser-page';
import { fixturesDir } from '@calotype/dev/fixtures';
import { expect, test } from 'vitest';
import { build } from 'vite';
import { root } from './lib/run.ts';

async function builtExample(name: string): Promise<string> {
  const outDir = await mkdtemp(join(tmpdir(), 'example-'));
  const folder = join(root, 'examples', name);
  await build({
    root: folder,
    configFile: join(folder, 'vite.config.ts'),
    logLevel: 'error',
    build: { outDir, emptyOutDir: true, target: 'es2022', minify: false },
  });
  return outDir;
}

test('examples/pipelines builds', async () => {
  const outDir = await builtExample('pipelines');
  try {
    expect(await readdir(outDir)).toContain('index.html');
  } finally {
    await rm(outDir, { recursive: true });
  }
}, 120_000);

test('examples/minimal shows a picture', async () => {
  const outDir = await builtExample('minimal');
  try {
    const mounts = { '/model/': join(fixturesDir, 'micro-sd') };
    await using host = await hostPages({ pageDir: outDir, mounts, flags: 'software' });
    const page = await host.open('index.html');
    const status = page.locator('#status');
    await expect.poll(() => status.textContent(), { timeout: 150_000 }).toMatch(/^[\d.]+ s$/);
    const colours = await page.evaluate(async () => {
      const picture = document.querySelector<HTMLCanvasElement>('#picture')!;
      const copy = new OffscreenCanvas(picture.width, picture.height).getContext('2d')!;
      copy.drawImage(picture, 0, 0);
      return new Set(new Uint32Array(copy.getImageData(0, 0, picture.width, picture.height).data.buffer))
        .size;
    });
    expect(colours).toBeGreaterThan(100);
  } finally {
    await rm(outDir, { recursive: true });
  }
}, 180_000);
