import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fixturesDir, unpackFixtures } from '@calotype/dev/fixtures';
import { serve } from '@calotype/dev/serve';
import { root, runTool } from './lib/run.ts';

const { values } = parseArgs({ options: { port: { type: 'string', default: '4173' } } });
const demo = join(root, 'examples', 'demo');
if (!existsSync(join(demo, 'index.html'))) {
  console.error('examples/demo is not there.');
  process.exit(1);
}
const code = await runTool('vite', ['build', '--logLevel', 'warn'], { cwd: demo });
if (code !== 0) process.exit(code);
await unpackFixtures();

// The demo asks for /models/NAME/: the trained model where there is one, the tiny random one always.
const pocket = join(root, 'packages', 'pocket', 'model');
const server = await serve(
  {
    '/': join(demo, 'dist'),
    '/models/tiny-sd/': join(fixturesDir, 'tiny-sd'),
    ...(existsSync(pocket) && { '/models/pocket/': pocket }),
  },
  { port: Number(values.port) },
);
console.log(`The demo is at ${server.url}/ (Ctrl+C ends it)`);
