import { normalizePath } from '../source/path.ts';
import { fileUrl } from '../source/url-store.ts';
import { CachedFile, type CachedFileHost, type FileReport } from './cached-file.ts';
import { CacheEntry } from './entry.ts';
import { Gate } from './jobs.ts';
import type { CachedStoreOptions } from './model-cache.ts';
import type { FinishOptions, ModelStore, StoreReport } from './model-store.ts';
import { nameOf } from './verifier.ts';

const PROGRESS_MS = 50;

/** Bytes of a model's files: those that were opened so far. */
export interface FetchProgress {
  /** The file that something came of. */
  path: string;
  /** Bytes that are there, of all opened files. */
  loaded: number;
  /** Bytes of all opened files, as far as their sizes are known. */
  total: number;
  /** Of `loaded`: bytes that the cache had before. */
  cached: number;
}

/** What a store needs of its cache. */
export interface StoreHost {
  locks: LockManager;
  /** Name of the model's Web Lock: shared while it is open, exclusive while it is removed. */
  lock: string;
  /** The model's folder. Notes that it was used. */
  open(): Promise<FileSystemDirectoryHandle>;
  makeRoom(file: string, bytes: number): Promise<void>;
}

/** Files of a model on a server, read through a `ModelCache`. Made by `ModelCache.store`. */
export class CachedStore implements ModelStore {
  readonly #base: URL;
  readonly #options: CachedStoreOptions;
  readonly #host: StoreHost;
  readonly #fileHost: CachedFileHost;
  readonly #files = new Map<string, CachedFile>();
  readonly #released = new AbortController();
  #folder: Promise<FileSystemDirectoryHandle> | undefined;
  #lastProgress = -Infinity;

  constructor(base: URL, options: CachedStoreOptions, host: StoreHost) {
    this.#base = base;
    this.#options = options;
    this.#host = host;
    this.#fileHost = {
      options: { httpCache: 'no-store', ...options },
      gate: new Gate(options.parallel ?? 6),
      locks: host.locks,
      offline: false,
      revalidate: options.revalidate ?? true,
      sparse: options.sparse ?? false,
      entry: async (path) => {
        const folder = await this.#open();
        return new CacheEntry(await folder.getDirectoryHandle(nameOf(path), { create: true }));
      },
      // What other files of this model still have to bring needs room too.
      makeRoom: (file, bytes) => host.makeRoom(file, Math.max(bytes, this.#missingBytes())),
      onBytes: (path) => this.#onBytes(path),
    };
  }

  async open(path: string): Promise<CachedFile> {
    return this.#file(path);
  }

  has(path: string): Promise<boolean> {
    return this.#file(path).exists();
  }

  async finish({ all = false, signal }: FinishOptions = {}): Promise<void> {
    for (const file of this.#files.values()) {
      if ((all || file.isBegun) && (await file.exists(signal))) await file.finish(signal);
    }
  }

  report(): StoreReport {
    return { cache: 'opfs', files: this.#opened() };
  }

  /** Lets the model be evicted. Idempotent. */
  dispose(): void {
    this.#released.abort();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #file(path: string): CachedFile {
    const normal = normalizePath(path);
    let file = this.#files.get(normal);
    if (!file) {
      const lock = `${this.#host.lock}/${normal}`;
      const digest = this.#options.digests?.[normal];
      file = new CachedFile(fileUrl(this.#base, normal), normal, lock, digest, this.#fileHost);
      this.#files.set(normal, file);
    }
    return file;
  }

  #open(): Promise<FileSystemDirectoryHandle> {
    this.#folder ??= new Promise((resolve, reject) => {
      const hold = async (): Promise<void> => {
        resolve(await this.#host.open());
        if (this.#released.signal.aborted) return;
        await new Promise<void>((release) =>
          this.#released.signal.addEventListener('abort', () => release(), { once: true }),
        );
      };
      this.#host.locks.request(this.#host.lock, { mode: 'shared' }, hold).catch((error: unknown) => {
        this.#folder = undefined;
        reject(error);
      });
    });
    return this.#folder;
  }

  #opened(): FileReport[] {
    return [...this.#files.values()].flatMap(({ report }) =>
      report.loadedBytes > 0 || report.bytes ? [report] : [],
    );
  }

  #missingBytes(): number {
    return this.#opened().reduce(
      (sum, { bytes = 0, loadedBytes }) => sum + Math.max(0, bytes - loadedBytes),
      0,
    );
  }

  #onBytes(path: string): void {
    const { onProgress } = this.#options;
    if (!onProgress) return;
    const progress: FetchProgress = { path, loaded: 0, total: 0, cached: 0 };
    for (const { bytes, loadedBytes, cachedBytes } of this.#opened()) {
      progress.loaded += loadedBytes;
      progress.total += bytes ?? loadedBytes;
      progress.cached += cachedBytes;
    }
    const now = performance.now();
    if (now - this.#lastProgress < PROGRESS_MS && progress.loaded < progress.total) return;
    this.#lastProgress = now;
    onProgress(progress);
  }
}
