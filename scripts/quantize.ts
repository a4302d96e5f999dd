import { main } from '@calotype/dev/quantize';

process.exitCode = await main(process.argv.slice(2));
