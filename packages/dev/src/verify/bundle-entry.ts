// The self-contained runner's entry: `node verify.mjs DIR`, with the built page in the folder beside it.
import { fileURLToPath } from 'node:url';
import { main } from './cli.ts';

process.exitCode = await main(process.argv.slice(2), fileURLToPath(new URL('./page', import.meta.url)));
