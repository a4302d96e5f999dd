import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { serve } from '@calotype/dev/serve';
import { root, runTool } from './lib/run.ts';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4173' }, built: { type: 'boolean', default: false } },
});
const demo = join(root, 'examples', 'demo');
// `--built` shows the last build as it is.
const code = values.built ? 0 : await runTool('vite', ['build', '--logLevel', 'warn'], { cwd: demo });
if (code === 0) {
  const server = await serve({ '/': join(demo, 'dist') }, { port: Number(values.port) });
  console.log(`The demo is at ${server.url}/ (Ctrl+C ends it)`);
} else process.exitCode = code;
