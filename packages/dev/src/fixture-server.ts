import type { Plugin } from 'vite';
import { fixturesDir } from './fixtures.ts';
import { fileHandler } from './serve.ts';

/**
 * Shows the unpacked fixtures to pages served by Vite and Vitest as `/fixtures/…`. A missing file is a 404, where Vite
 * alone would answer with a page.
 */
export function fixtureServer(): Plugin {
  return {
    name: 'fixture-server',
    configureServer(server) {
      const handle = fileHandler({ '/fixtures/': fixturesDir });
      server.middlewares.use((request, response, next) => {
        if (!request.url?.startsWith('/fixtures/')) return next();
        handle(request, response).then((handled) => {
          if (!handled) response.writeHead(404).end('Not found\n');
        }, next);
      });
    },
  };
}
