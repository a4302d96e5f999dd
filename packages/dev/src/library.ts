import type { UserConfig } from 'tsdown';
import { wgsl } from './wgsl-plugin.ts';

/** How every published package is built: one ES module with types, checked as it would be packed. */
export function library(entry: string[] = ['src/index.ts']): UserConfig {
  return {
    entry,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    fixedExtension: false,
    dts: true,
    sourcemap: true,
    tsconfig: 'tsconfig.build.json',
    plugins: [wgsl()],
    publint: { strict: true, level: 'warning' },
    attw: { profile: 'esm-only', level: 'error' },
  };
}
