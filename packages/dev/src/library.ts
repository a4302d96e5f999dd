import type { Plugin } from 'vite';
import type { UserConfig } from 'tsdown';
import { wgsl } from './wgsl-plugin.ts';

/**
 * How every published package is built: ES modules with types, checked as they would be packed.
 *
 * @param entry Output name → source file. A worker is an entry of its own, named as its source file.
 */
export function library(entry: Record<string, string> = { index: 'src/index.ts' }): UserConfig {
  return {
    entry,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    fixedExtension: false,
    dts: true,
    sourcemap: true,
    tsconfig: 'tsconfig.build.json',
    plugins: [wgsl(), builtWorkers()],
    publint: { strict: true, level: 'warning' },
    attw: { profile: 'esm-only', level: 'error' },
  };
}

/** Points `new URL('./x.ts', import.meta.url)` at the entry that `x.ts` was built to. */
function builtWorkers(): Plugin {
  return {
    name: 'built-workers',
    transform(code) {
      const worker = /new URL\('\.\/([\w-]+)\.ts', import\.meta\.url\)/g;
      return worker.test(code) ? code.replaceAll(worker, "new URL('./$1.js', import.meta.url)") : null;
    },
  };
}
