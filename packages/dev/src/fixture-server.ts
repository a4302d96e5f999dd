import { join } from 'node:path';
import type { Plugin } from 'vite';
import { fixturesDir, unpackFixtures } from './fixtures.ts';
import { fileHandler } from './serve.ts';

/**
 * Shows the unpacked fixtures to pages served by Vite and Vitest as `/fixtures/…`. A missing file is a 404, where Vite
 * alone would answer with a page.
 *
 * @param aliases Further URL prefixes for folders among the fixtures: `{ '/model/': 'tiny-sd' }`.
 */
export function fixtureServer(aliases: Record<string, string> = {}): Plugin {
  const mounts = Object.fromEntries(
    Object.entries(aliases).map(([url, name]) => [url, join(fixturesDir, name)]),
  );
  const handle = fileHandler({ '/fixtures/': fixturesDir, ...mounts });
  const prefixes = ['/fixtures/', ...Object.keys(aliases)];
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
