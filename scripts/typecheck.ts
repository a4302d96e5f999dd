import { types } from './lib/gates.ts';

const { failed } = await types();
process.exitCode = failed ? 1 : 0;
