import { createServer } from 'node:http';
import { join } from 'node:path';
import { unpackFixtures } from '@calotype/dev/fixtures';
import { writeMicroSd } from '@calotype/dev/micro-sd';
import { fileHandler } from '@calotype/dev/serve';
import { modelHost } from './demo-page.ts';

/** Of the model's UNet: a step takes long enough for a test to meet it. */
const BLOCKS = 40;

/** Playwright's global set-up: a model host on an origin of its own, as a visitor's model would have. */
export default async function setup(): Promise<() => void> {
  const fixtures = await unpackFixtures();
  const micro = join(fixtures, 'micro-sd-steady');
  await writeMicroSd(micro, join(fixtures, 'tiny-sd'), BLOCKS);
  const handle = fileHandler({ '/micro-sd/': micro });
  const server = createServer((request, response) => {
    // On every answer: without them a missing optional file is no 404 to the page but a network failure.
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('access-control-expose-headers', 'content-range');
    handle(request, response).then(
      (handled) => handled || response.writeHead(404).end(),
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(Number(new URL(modelHost).port), 'localhost', resolve);
  });
  return () => {
    server.close();
    server.closeAllConnections();
  };
}
