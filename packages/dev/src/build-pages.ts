import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { wgsl } from './wgsl-plugin.ts';

/** No word of slow plugins, nor that a page which needs all samplers at once has them in one chunk. */
const checks = { pluginTimings: false, ineffectiveDynamicImport: false };

/**
 * Builds a command's page for as long as `use` takes. In a folder of its own, so that two runs of a command do not
 * meet.
 *
 * @param command one of this package's (`verify`, `generate`), or the folder of another as an absolute path
 */
export async function withPage<T>(command: string, use: (pageDir: string) => Promise<T>): Promise<T> {
  const pageDir = await mkdtemp(join(tmpdir(), `calotype-${basename(command)}-`));
  try {
    await buildPage(join(commandFolder(command), 'page'), pageDir);
    return await use(pageDir);
  } finally {
    await rm(pageDir, { recursive: true, force: true });
  }
}

/** Builds the page whose `index.html` lies in `source`, with its workers and WebAssembly, into `outDir`. */
async function buildPage(source: string, outDir: string): Promise<void> {
  await build({
    root: source,
    configFile: false,
    base: './',
    logLevel: 'warn',
    plugins: [wgsl()],
    worker: { format: 'es', plugins: () => [wgsl()], rolldownOptions: { checks } },
    build: {
      outDir,
      emptyOutDir: true,
      target: 'esnext',
      assetsInlineLimit: 0,
      chunkSizeWarningLimit: Infinity,
      rolldownOptions: { checks },
    },
  });
}

/**
 * Builds a command and its page into a folder that runs without this workspace: `node COMMAND.mjs`, with
 * playwright-core found through NODE_PATH.
 */
export async function buildStandalone(command: string, outDir: string): Promise<void> {
  const source = commandFolder(command);
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
      rolldownOptions: {
        checks,
        output: { entryFileNames: `${basename(command)}.mjs`, codeSplitting: false },
      },
    },
  });
}

function commandFolder(command: string): string {
  return isAbsolute(command) ? command : fileURLToPath(new URL(`./${command}`, import.meta.url));
}
