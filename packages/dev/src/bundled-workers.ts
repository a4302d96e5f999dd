import { join } from 'node:path';
import { build, type Plugin, type Rolldown } from 'vite';
import { wgsl } from './wgsl-plugin.ts';

/**
 * Serves the scripts of workers bundled, each as one file. From Vite's server a worker fetches each of its 250 modules by
 * itself, which takes a slow processor seconds for every worker that a test starts. They have no fallback then, which is
 * not in the bundle.
 */
export function bundledWorkers(): Plugin {
  const bundles = new Map<string, Promise<string>>();
  return {
    name: 'bundled-workers',
    configureServer({ config, middlewares, watcher }) {
      watcher.on('change', () => bundles.clear());
      middlewares.use((request, response, next) => {
        const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
        if (!searchParams.has('worker_file')) return next();
        const code = bundles.get(pathname) ?? bundle(join(config.root, pathname));
        bundles.set(pathname, code);
        code.then((text) => response.writeHead(200, { 'content-type': 'text/javascript' }).end(text), next);
      });
    },
  };
}

async function bundle(file: string): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: 'warn',
    plugins: [wgsl()],
    build: {
      write: false,
      target: 'esnext',
      minify: false,
      rolldownOptions: { input: file, external: /^onnxruntime-web/, output: { codeSplitting: false } },
    },
  });
  return (result as Rolldown.RolldownOutput).output[0].code;
}
