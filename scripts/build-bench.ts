import { join } from 'node:path';
import { buildStandalone } from '@calotype/dev/build-pages';
import { root } from './lib/run.ts';

const folder = join(root, 'dist', 'bench');
await buildStandalone(join(root, 'bench'), folder);
console.log(
  `${folder}: node bench.mjs --fixtures DIR, with playwright-core on NODE_PATH and CHROME_PATH set`,
);
