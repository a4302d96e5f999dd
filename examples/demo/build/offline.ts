import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { transformWithOxc, type Plugin } from 'vite';

const source = fileURLToPath(new URL('../src/offline/service-worker.ts', import.meta.url));

/** Large and rarely needed: cached when it is first used. */
const onDemand = /\.wasm$|licenses\.md$/;

/**
 * Emits `service-worker.js` with the list of the build's files and their digests. Written here rather than taken from
 * vite-plugin-pwa: Workbox would fetch the model a second time past the HTTP cache and answer no ranges of it, and its
 * build tools are some 300 packages.
 */
export function offline(): Plugin {
  return {
    name: 'offline',
    apply: 'build',
    enforce: 'post',
    generateBundle: {
      order: 'post',
      async handler(_, bundle) {
        const files = Object.values(bundle)
          .map((output) => ({
            path: output.fileName,
            digest: createHash('sha256')
              .update(output.type === 'chunk' ? output.code : output.source)
              .digest('hex')
              .slice(0, 12),
          }))
          .filter(({ path }) => !path.startsWith('.vite/'));
        const { code } = await transformWithOxc(await readFile(source, 'utf8'), source);
        const now = files.filter(({ path }) => !onDemand.test(path));
        this.emitFile({
          type: 'asset',
          fileName: 'service-worker.js',
          source: code.replace(
            'FILES_OF_THE_BUILD',
            JSON.stringify(now.map(({ path, digest }) => [path, digest])),
          ),
        });
      },
    },
  };
}
