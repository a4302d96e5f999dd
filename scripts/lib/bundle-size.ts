import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';
import { root } from './run.ts';

export interface BundleSize {
  name: string;
  minified: number;
  gzipped: number;
}

/** What an app pays for each built package: its entry bundled and minified, without other packages' code. */
export async function bundleSizes(folders: string[]): Promise<BundleSize[]> {
  const external = (id: string): boolean => !/^[./\\]|^[a-z]:/i.test(id);
  const sizes: BundleSize[] = [];
  for (const folder of folders) {
    const manifest = JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8')) as {
      name: string;
    };
    const result = await build({
      root: join(root, folder),
      configFile: false,
      logLevel: 'error',
      build: {
        write: false,
        minify: true,
        lib: { entry: join(root, folder, 'dist/index.js'), formats: ['es'] },
        rolldownOptions: { external },
      },
      worker: { format: 'es', rolldownOptions: { external } },
    });
    const outputs = [result].flat().flatMap((bundle) => ('output' in bundle ? bundle.output : []));
    const code = outputs.map((chunk) => (chunk.type === 'chunk' ? chunk.code : chunk.source));
    sizes.push({
      name: manifest.name,
      minified: code.reduce((sum, text) => sum + Buffer.byteLength(text), 0),
      gzipped: code.reduce((sum, text) => sum + gzipSync(text, { level: 9 }).length, 0),
    });
  }
  return sizes;
}

/** Bytes that the demo page's JavaScript should have at most, workers included, gzipped. */
export const DEMO_GOAL = 250_000;

/** Bytes from which on the gate fails: what the page has, and a little. Lower it with the page, down to the goal. */
export const DEMO_LIMIT = 280_000;

/** JavaScript of the built demo, without onnxruntime: that is fetched only for operators that the engine lacks. */
export async function demoSize(dist: string): Promise<Omit<BundleSize, 'name'>> {
  const files = await readdir(dist, { recursive: true });
  const scripts = files.filter((file) => file.endsWith('.js') && !/(^|[/\\])ort\./.test(file));
  const size = { minified: 0, gzipped: 0 };
  for (const file of scripts) {
    const code = await readFile(join(dist, file));
    size.minified += code.length;
    size.gzipped += gzipSync(code, { level: 9 }).length;
  }
  return size;
}
