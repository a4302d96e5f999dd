import { join } from 'node:path';
import { withPage } from '@calotype/dev/build-pages';
import { main } from '@calotype/dev/generate';
import { root } from './lib/run.ts';

process.exitCode = await withPage('generate', (pageDir) =>
  main(process.argv.slice(2), pageDir, join(root, 'packages/pocket/model')),
);
