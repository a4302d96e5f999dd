import { spawn, type StdioOptions } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root folder. */
export const root: string = fileURLToPath(new URL('../..', import.meta.url));

const binaries = join(root, 'node_modules', '.bin');

export interface RunOptions {
  cwd?: string;
  stdio?: StdioOptions;
  env?: Record<string, string>;
}

/** Runs one of the workspace's own tools (`node_modules/.bin`) and resolves to its exit code. */
export function runTool(tool: string, args: string[], options: RunOptions = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(binaries, tool), args, {
      cwd: options.cwd ?? root,
      stdio: options.stdio ?? 'inherit',
      // tsdown looks for pnpm on the path, to see each package as it would be packed.
      env: { ...process.env, PATH: `${binaries}${delimiter}${process.env['PATH'] ?? ''}`, ...options.env },
      shell: process.platform === 'win32',
    });
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}
