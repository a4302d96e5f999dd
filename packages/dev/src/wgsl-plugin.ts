import { readFile } from 'node:fs/promises';
import type { Plugin } from 'vite';

/**
 * Lets `import source from './kernel.wgsl'` yield the shader's text in Vite, Vitest and tsdown alike. Without comments and
 * indentation, which minifiers leave in strings: a twentieth of what a page downloads.
 */
export function wgsl(): Plugin {
  return {
    name: 'wgsl',
    enforce: 'pre',
    async load(id) {
      const path = id.split('?')[0]!;
      if (!path.endsWith('.wgsl')) return null;
      const source = await readFile(path, 'utf8');
      return { code: `export default ${JSON.stringify(compact(source))};`, map: null, moduleType: 'js' };
    },
  };
}

function compact(source: string): string {
  return source
    .replaceAll(/\/\*[^]*?\*\//g, '')
    .split('\n')
    .map((line) => line.replace(/\/\/.*/, '').trim())
    .filter((line) => line !== '')
    .join('\n');
}
