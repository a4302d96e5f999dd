import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './lib/run.ts';

const driver = join(root, 'bench', 'run.ts');
if (existsSync(driver)) await import(pathToFileURL(driver).href);
else {
  console.error('There are no benchmarks yet.');
  process.exitCode = 1;
}
