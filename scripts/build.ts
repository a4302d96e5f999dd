import { build } from './lib/gates.ts';

const { passed, failed } = await build();
console.log(`${passed} builds passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
