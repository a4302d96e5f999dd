import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { build } from 'vite';
import { root } from './lib/run.ts';

test.each(['minimal', 'pipelines'])(
  'examples/%s builds',
  async (name) => {
    const outDir = await mkdtemp(join(tmpdir(), 'example-'));
    try {
      const folder = join(root, 'examples', name);
      const configFile = join(folder, 'vite.config.ts');
      await build({
        root: folder,
        configFile,
        logLevel: 'error',
        build: { outDir, emptyOutDir: true, target: 'es2022' },
      });
      expect(await readdir(outDir)).toContain('index.html');
    } finally {
      await rm(outDir, { recursive: true });
    }
  },
  120_000,
);
