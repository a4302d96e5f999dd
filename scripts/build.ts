import { build } from './lib/gates.ts';

const { passed, failed } = await build();
console.log(`${passed} packages built, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
