import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';
import { fixturesDir, unpackFixtures } from './fixtures.ts';
import { fileHandler } from './serve.ts';

/** Folder of Pocket, the model of this repository. */
export const pocketDir: string = fileURLToPath(new URL('../../pocket/model', import.meta.url));

/**
 * Shows the unpacked fixtures to pages served by Vite and Vitest as `/fixtures/…`, and Pocket as `/pocket/…`. A missing file is a 404, where Vite
 * alone would answer with a page.
 *
 * @param aliases Further URL prefixes, for folders among the fixtures (`{ '/model/': 'tiny-sd' }`) or anywhere.
 */
export function fixtureServer(aliases: Record<string, string> = {}): Plugin {
  const mounts = Object.fromEntries(
    Object.entries(aliases).map(([url, name]) => [url, resolve(fixturesDir, name)]),
  );
  const handle = fileHandler({ '/fixtures/': fixturesDir, '/pocket/': pocketDir, ...mounts });
  const prefixes = ['/fixtures/', '/pocket/', ...Object.keys(aliases)];
  return {
    name: 'fixture-server',
    async configureServer(server) {
      await unpackFixtures();
      server.middlewares.use((request, response, next) => {
        if (!prefixes.some((prefix) => request.url?.startsWith(prefix))) return next();
        handle(request, response).then((handled) => {
          if (!handled) response.writeHead(404).end('Not found\n');
        }, next);
      });
    },
  };
}
