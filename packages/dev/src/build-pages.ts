import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { wgsl } from './wgsl-plugin.ts';

/** Builds the page whose `index.html` lies in `source`, with its workers and WebAssembly, into `outDir`. */
export async function buildPage(source: string, outDir: string): Promise<void> {
  await build({
    root: source,
    configFile: false,
    base: './',
    logLevel: 'warn',
    plugins: [wgsl()],
    worker: { format: 'es', plugins: () => [wgsl()] },
    build: {
      outDir,
      emptyOutDir: true,
      target: 'esnext',
      assetsInlineLimit: 0,
      chunkSizeWarningLimit: Infinity,
    },
  });
}

/**
 * Builds the command whose entry is `bundle-entry.ts` in the folder `source`, and its page, into a folder that runs
 * without this workspace: `node NAME.mjs`, with playwright-core found through NODE_PATH.
 */
export async function buildStandalone(source: string, name: string, outDir: string): Promise<void> {
  await rm(outDir, { recursive: true, force: true });
  await buildPage(join(source, 'page'), join(outDir, 'page'));
  await build({
    root: source,
    configFile: false,
    logLevel: 'warn',
    ssr: { noExternal: true },
    build: {
      ssr: join(source, 'bundle-entry.ts'),
      outDir,
      emptyOutDir: false,
      target: 'node20',
      minify: false,
      rolldownOptions: { output: { entryFileNames: `${name}.mjs`, codeSplitting: false } },
    },
  });
}

/** Folder of one of this package's commands: `verify`, `generate`. */
export function commandFolder(name: string): string {
  return fileURLToPath(new URL(`./${name}`, import.meta.url));
}
