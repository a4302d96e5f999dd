import { join } from 'node:path';
import { buildStandalone } from '@calotype/dev/build-pages';
import { root } from './lib/run.ts';

const folder = join(root, 'dist', 'verify');
await buildStandalone('verify', folder);
console.log(`${folder}: node verify.mjs DIR, with playwright-core on NODE_PATH and CHROME_PATH set`);
