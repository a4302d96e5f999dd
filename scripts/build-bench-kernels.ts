import { join } from 'node:path';
import { buildStandalone } from '@calotype/dev/build-pages';
import { root } from './lib/run.ts';

const folder = join(root, 'dist', 'bench-kernels');
await buildStandalone(join(root, 'bench', 'kernels'), folder);
console.log(`${folder}: node kernels.mjs, with playwright-core on NODE_PATH and CHROME_PATH set`);
