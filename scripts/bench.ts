import { join } from 'node:path';
import { withPage } from '@calotype/dev/build-pages';
import { unpackFixtures } from '@calotype/dev/fixtures';
import { main } from '../bench/run.ts';
import { root } from './lib/run.ts';

const bench = join(root, 'bench');
const fixtures = await unpackFixtures();
process.exitCode = await withPage(bench, (pageDir) =>
  main(process.argv.slice(2), {
    pageDir,
    fixtures,
    pocket: join(root, 'packages', 'pocket', 'model'),
    out: join(bench, 'results'),
  }),
);
