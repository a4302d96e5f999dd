import { join } from 'node:path';
import { buildPage, commandFolder } from '@calotype/dev/build-pages';
import { main } from '@calotype/dev/verify';
import { root } from './lib/run.ts';

const pageDir = join(root, '.cache', 'pages', 'verify');
await buildPage(join(commandFolder('verify'), 'page'), pageDir);
process.exitCode = await main(process.argv.slice(2), pageDir);
