// Entry of the self-contained command: `node kernels.mjs`, with the built page in the folder beside it.
import { fileURLToPath } from 'node:url';
import { main } from './run.ts';

process.exitCode = await main(process.argv.slice(2), fileURLToPath(new URL('./page', import.meta.url)));
