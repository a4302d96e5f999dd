// The self-contained command's entry: `node bench.mjs --fixtures DIR`, with the built page in the folder beside it.
import { fileURLToPath } from 'node:url';
import { main } from './run.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
process.exitCode = await main(process.argv.slice(2), {
  pageDir: here('./page'),
  fixtures: here('./fixtures'),
  pocket: here('./pocket'),
  out: here('./results'),
});
