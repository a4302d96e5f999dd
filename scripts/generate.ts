import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { withPage } from '@calotype/dev/build-pages';
import { unpackFixtures } from '@calotype/dev/fixtures';
import { main, type DefaultModel } from '@calotype/dev/generate';
import { root } from './lib/run.ts';

process.exitCode = await withPage('generate', (pageDir) =>
  main(process.argv.slice(2), pageDir, defaultModel),
);

async function defaultModel(): Promise<DefaultModel> {
  const pocket = join(root, 'packages/pocket/model');
  if (existsSync(join(pocket, 'model_index.json'))) return { folder: pocket };
  return {
    folder: join(await unpackFixtures(), 'tiny-sd'),
    note: 'There is no trained model in this repository yet: this one has random weights, and so has its picture. --model DIR names another.',
  };
}
