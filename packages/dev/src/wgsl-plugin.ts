import { readFile } from 'node:fs/promises';
import type { Plugin } from 'vite';

/** Lets `import source from './kernel.wgsl'` yield the shader's text in Vite, Vitest and tsdown alike. */
export function wgsl(): Plugin {
  return {
    name: 'wgsl',
    enforce: 'pre',
    async load(id) {
      const path = id.split('?')[0]!;
      if (!path.endsWith('.wgsl')) return null;
      const source = await readFile(path, 'utf8');
      return { code: `export default ${JSON.stringify(source)};`, map: null, moduleType: 'js' };
    },
  };
}
