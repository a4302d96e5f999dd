import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformWithOxc, type Plugin } from 'vite';

const source = fileURLToPath(new URL('../src/offline/service-worker.ts', import.meta.url));

/** Large, and needed only by models with operators that the engine lacks. */
const onDemand = /\.wasm$|\/ort\.[^/]*\.js$|\.woff$/;

/**
 * Emits `service-worker.js` with the list of the build's files and their digests. Written here rather than taken from
 * vite-plugin-pwa: Workbox would fetch the model a second time past the HTTP cache and answer no ranges of it, and its
 * build tools are some 300 packages.
 */
export function offline(): Plugin {
  let publicDir = '';
  return {
    name: 'offline',
    apply: 'build',
    configResolved(config) {
      publicDir = config.publicDir;
    },
    generateBundle: {
      order: 'post',
      async handler(_, bundle) {
        const files = Object.values(bundle).map((output) =>
          entry(output.fileName, output.type === 'chunk' ? output.code : output.source),
        );
        for (const name of await readdir(publicDir)) {
          files.push(entry(name, await readFile(join(publicDir, name))));
        }
        const kept = files.filter(([path]) => !path.startsWith('.vite/') && !onDemand.test(path));
        const { code } = await transformWithOxc(await readFile(source, 'utf8'), source);
        this.emitFile({
          type: 'asset',
          fileName: 'service-worker.js',
          source: code.replace('FILES_OF_THE_BUILD', JSON.stringify(kept)),
        });
      },
    },
  };
}

function entry(path: string, contents: string | Uint8Array): [path: string, digest: string] {
  return [path, createHash('sha256').update(contents).digest('hex').slice(0, 12)];
}
