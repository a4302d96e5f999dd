import { AsyncLocalStorage } from 'node:async_hooks';
import { spawn, type StdioOptions } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root folder. */
export const root: string = fileURLToPath(new URL('../..', import.meta.url));

const binaries = join(root, 'node_modules', '.bin');

/** Where lines go that are printed within {@link collect}. */
const collected = new AsyncLocalStorage<string[]>();

/** Runs something whose lines, its tools' included, are kept from those of others, and tells them when it is done. */
export async function collect<T>(work: () => Promise<T>): Promise<{ value: T; output: string }> {
  const lines: string[] = [];
  const value = await collected.run(lines, work);
  return { value, output: lines.join('') };
}

/** Prints a line. */
export function print(line: string): void {
  const lines = collected.getStore();
  if (lines) lines.push(`${line}\n`);
  else console.log(line);
}

export interface RunOptions {
  cwd?: string;
  stdio?: StdioOptions;
  env?: Record<string, string>;
}

/** Runs one of the workspace's own tools (`node_modules/.bin`) and resolves to its exit code. */
export function runTool(tool: string, args: string[], options: RunOptions = {}): Promise<number> {
  return run(join(binaries, tool), args, { shell: process.platform === 'win32', ...options });
}

/** Runs a JavaScript file with this Node and resolves to its exit code. */
export function runNode(script: string, args: string[]): Promise<number> {
  return run(process.execPath, [script, ...args], {});
}

function run(command: string, args: string[], options: RunOptions & { shell?: boolean }): Promise<number> {
  return new Promise((resolve, reject) => {
    const lines = collected.getStore();
    const child = spawn(command, args, {
      cwd: options.cwd ?? root,
      stdio: options.stdio ?? (lines ? ['ignore', 'pipe', 'pipe'] : 'inherit'),
      // tsdown looks for pnpm on the path, to see each package as it would be packed.
      env: { ...process.env, PATH: `${binaries}${delimiter}${process.env['PATH'] ?? ''}`, ...options.env },
      shell: options.shell ?? false,
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => lines?.push(text));
    }
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (signal) print(`${command} was ended by ${signal}.`);
      resolve(code ?? 1);
    });
  });
}
