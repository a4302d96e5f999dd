import type * as Ort from 'onnxruntime-web/webgpu';

export type { Ort };

/** How onnxruntime-web, which runs what has no kernel here, is loaded. */
export interface OrtAssets {
  /**
   * Where its `.wasm` and `.mjs` files are: the URL of a folder, or URLs of the files. By default bundlers emit them
   * beside the application's code.
   */
  wasmPaths?: string | { wasm?: string | URL; mjs?: string | URL };
  /**
   * Its build. `jspi` is smaller and faster where the browser has WebAssembly's promise integration, `asyncify` runs
   * everywhere. By default what the browser supports.
   */
  build?: 'jspi' | 'asyncify';
  /**
   * Threads of the CPU provider; more than one needs a cross-origin isolated page. 1 by default: in a worker that a
   * bundler made, more make it wait forever unless `wasmPaths` names the `.mjs` file too.
   */
  numThreads?: number;
}

let assets: OrtAssets = {};
let loading: Promise<typeof Ort> | undefined;

/**
 * Says how onnxruntime-web is loaded. To be called before the first session that needs it.
 *
 * @throws Error once it is loaded
 */
export function setOrtAssets(wanted: OrtAssets): void {
  if (loading)
    throw new Error('onnxruntime-web is loaded already: call setOrtAssets before creating sessions.');
  assets = wanted;
}

/** Whether onnxruntime-web was loaded. Applications whose operators all have kernels never load it. */
export function ortIsLoaded(): boolean {
  return loading !== undefined;
}

function load(): Promise<typeof Ort> {
  loading ??= importBuild().then((ort) => {
    ort.env.wasm.numThreads = assets.numThreads ?? 1;
    if (assets.wasmPaths !== undefined) ort.env.wasm.wasmPaths = assets.wasmPaths;
    ort.env.logLevel = 'error';
    return ort;
  });
  // A failed download may work the next time.
  loading.catch(() => (loading = undefined));
  return loading;
}

function importBuild(): Promise<typeof Ort> {
  const build = assets.build ?? ('Suspending' in WebAssembly ? 'jspi' : 'asyncify');
  return build === 'jspi' ? import('onnxruntime-web/jspi') : import('onnxruntime-web/webgpu');
}

let queue: Promise<unknown> = Promise.resolve();

/**
 * Does `work` with onnxruntime-web, after everything else that was asked of it. Nothing may call it in any other way:
 * overlapping calls end in wrong results or in a page that hangs (microsoft/onnxruntime#32561).
 */
export function withOrt<T>(work: (ort: typeof Ort) => Promise<T>): Promise<T> {
  const turn = queue.then(async () => work(await load()));
  queue = turn.catch(() => {});
  return turn;
}
