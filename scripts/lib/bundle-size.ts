import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
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

/** Bytes that the demo page's JavaScript has at most until its first picture, workers included, gzipped. */
export const DEMO_LIMIT = 250_000;

export interface DemoSize {
  /** Up to the first picture. */
  first: Omit<BundleSize, 'name'>;
  /** Fetched when it is wanted: gzipped bytes. */
  later: number;
}

/** JavaScript of the built demo, without onnxruntime: that is fetched only for operators that the engine lacks. */
export async function demoSize(dist: string): Promise<DemoSize> {
  const files = (await readdir(dist, { recursive: true })).filter((file) => file.endsWith('.js'));
  const scripts = new Map<string, Buffer>();
  for (const file of files) {
    if (!basename(file).startsWith('ort.')) scripts.set(basename(file), await readFile(join(dist, file)));
  }
  const page = await readFile(join(dist, 'index.html'), 'utf8');
  const reached = new Set<string>();
  const reach = (name: string): void => {
    if (reached.has(name) || !scripts.has(name)) return;
    reached.add(name);
    // It names every file of the build, to keep them.
    if (name === 'service-worker.js') return;
    scriptsIn(scripts.get(name)!.toString()).forEach(reach);
  };
  scriptsIn(page).forEach(reach);
  const size: DemoSize = { first: { minified: 0, gzipped: 0 }, later: 0 };
  for (const [name, code] of scripts) {
    const gzipped = gzipSync(code, { level: 9 }).length;
    if (!reached.has(name)) size.later += gzipped;
    else size.first = { minified: size.first.minified + code.length, gzipped: size.first.gzipped + gzipped };
  }
  return size;
}

/** Names of the scripts that a text loads by itself: static imports, workers, script elements. */
function scriptsIn(text: string): string[] {
  const itself = text
    .replaceAll(/\bimport\(\s*["'`][^"'`]*["'`]\s*\)/g, '')
    // What Vite would fetch along with a dynamic import.
    .replaceAll(/__vite__mapDeps=[^;]*;/g, '');
  return [...itself.matchAll(/["'`]([^"'`\s]*\.js)["'`]/g)].map(([, path]) => basename(path!));
}
