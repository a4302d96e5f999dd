import { QuotaError, UnsupportedCacheError } from '../errors.ts';
import type { FetchOptions } from '../source/fetch.ts';
import { isNamed } from './chunk-folder.ts';
import { CachedStore, type FetchProgress } from './cached-store.ts';
import { CacheEntry, readJson, writeJson } from './entry.ts';
import { nameOf } from './verifier.ts';

export interface ModelCacheOptions {
  /** Caches of different names know nothing of each other. `calotype` by default. */
  name?: string;
  /** Most bytes to keep; the models that were used longest ago go first. As much as the browser gives by default. */
  maxBytes?: number;
  /** The folder that caches are kept in. That of the origin by default. */
  root?: FileSystemDirectoryHandle;
  /** What tabs agree by. `navigator.locks` by default. */
  locks?: LockManager;
}

/** How long to wait for a model that was let go only just now. */
const RELEASE_MS = 200;

/** A model in the cache. */
export interface CachedModel {
  /** Folder that its files were fetched from, without query. */
  url: string;
  bytes: number;
  files: CachedModelFile[];
  /** When a page last opened it. */
  lastUsed: Date;
}

export interface CachedModelFile {
  path: string;
  /** Bytes that are there. */
  bytes: number;
  /** Bytes of the whole file; `undefined` while the server has not told. */
  size: number | undefined;
  /** Whether all of it is there. */
  complete: boolean;
  /** Digest that it was checked against. */
  sha256: string | undefined;
}

export interface CachedStoreOptions extends FetchOptions {
  /** SHA-256 of files in hexadecimal, by path. Where none is given, an ETag that is one counts. */
  digests?: Readonly<Record<string, string>>;
  /** Requests under way at once. 6 by default. */
  parallel?: number;
  /**
   * Whether to ask the server if what is cached is still what it has. Without, what is whole is used unasked. True by
   * default; files whose digest is given are not asked for.
   */
  revalidate?: boolean;
  /**
   * Whether a read of a few bytes never brings more than these. False by default: of files up to 32 MiB it brings whole
   * chunks, since a model's structure would take dozens of requests, one after the other.
   */
  sparse?: boolean;
  /** Hears of bytes that come, at most every 50 ms and at the end. */
  onProgress?: (progress: FetchProgress) => void;
}

/**
 * Models in the browser's origin-private file system. Files are kept chunk by chunk as they come, so that what was
 * fetched is never fetched again: not after a dropped connection, not after a page reload, not by another tab.
 *
 * ```ts
 * const cache = await ModelCache.open();
 * const store = cache.store('https://example.com/sd-turbo/');
 * using session = await createSession({ store, path: 'unet/model.onnx' });
 * ```
 */
export class ModelCache {
  readonly #root: FileSystemDirectoryHandle;
  readonly #locks: LockManager;
  readonly #name: string;
  readonly #maxBytes: number;

  private constructor(root: FileSystemDirectoryHandle, locks: LockManager, options: ModelCacheOptions) {
    this.#root = root;
    this.#locks = locks;
    this.#name = options.name ?? 'calotype';
    this.#maxBytes = options.maxBytes ?? Infinity;
  }

  /**
   * @throws UnsupportedCacheError where the browser has no such storage, gives none (private windows) or cannot write to
   *   it from here (Safari before 26 can in workers only)
   */
  static async open(options: ModelCacheOptions = {}): Promise<ModelCache> {
    const locks = options.locks ?? globalThis.navigator?.locks;
    if (!locks) throw new UnsupportedCacheError('navigator.locks is missing: the page is not secure (https)');
    try {
      const base = options.root ?? (await navigator.storage.getDirectory());
      const root = await base.getDirectoryHandle(options.name ?? 'calotype', { create: true });
      await writeJson(root, 'about.json', { format: 1 });
      return new ModelCache(root, locks, options);
    } catch (cause) {
      throw new UnsupportedCacheError('the browser gives no origin-private file system here', cause);
    }
  }

  /**
   * The files below `baseUrl`, read through the cache. `dispose` it when done: until then the model is not evicted.
   *
   * @param baseUrl taken as a folder. Its query (a token, say) goes with every request, and is no part of the name
   *   that the model has in the cache.
   */
  store(baseUrl: string | URL, options: CachedStoreOptions = {}): CachedStore {
    const base = folderUrl(baseUrl);
    const name = modelName(base);
    return new CachedStore(base, options, {
      locks: this.#locks,
      lock: this.#lockOf(name),
      open: async () => {
        const folder = await this.#root.getDirectoryHandle(name, { create: true });
        await writeJson(folder, 'model.json', { url: keyOf(base), lastUsed: Date.now() });
        return folder;
      },
      makeRoom: (file, bytes) => this.#makeRoom(file, bytes, name),
    });
  }

  /** The models in the cache, the one used last first. */
  async list(): Promise<CachedModel[]> {
    const models: CachedModel[] = [];
    for await (const folder of this.#root.values()) {
      if (folder.kind !== 'directory') continue;
      const model = await describe(folder).catch((error: unknown) => {
        // Another tab evicted it meanwhile.
        if (!isNamed(error, 'NotFoundError')) throw error;
      });
      if (model) models.push(model);
    }
    return models.toSorted((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
  }

  /** Bytes of all models, as far as they came. */
  async bytes(): Promise<number> {
    return (await this.list()).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Removes a model. False where a page still has it open. */
  evict(url: string | URL): Promise<boolean> {
    return this.#evict(modelName(folderUrl(url)));
  }

  /** Removes every model that no page has open. */
  async clear(): Promise<void> {
    for (const { url } of await this.list()) await this.evict(url);
  }

  /**
   * Asks the browser never to clear this origin's storage by itself, as it may when the disk is full or the page was not
   * visited for long. Some browsers ask the user. Pages only, not workers.
   *
   * @returns whether it is granted
   */
  async persist(): Promise<boolean> {
    const { storage } = navigator;
    return (await storage.persisted()) || ((await storage.persist?.()) ?? false);
  }

  async #evict(name: string): Promise<boolean> {
    const signal = AbortSignal.timeout(RELEASE_MS);
    const remove = async (): Promise<true> => {
      await this.#root.removeEntry(name, { recursive: true }).catch((error: unknown) => {
        if (!isNamed(error, 'NotFoundError')) throw error;
      });
      return true;
    };
    try {
      return await this.#locks.request(this.#lockOf(name), { signal }, remove);
    } catch (error) {
      if (error === signal.reason) return false;
      throw error;
    }
  }

  /** Evicts the models used longest ago until there is room for `bytes`. */
  async #makeRoom(file: string, bytes: number, own: string): Promise<void> {
    const candidates = (await this.list()).filter(({ url }) => nameOf(url) !== own).toReversed();
    for (;;) {
      const available = await this.#availableBytes();
      if (available === undefined || available >= bytes) return;
      let evicted = false;
      while (!evicted && candidates.length > 0) evicted = await this.evict(candidates.shift()!.url);
      if (!evicted) throw new QuotaError(file, bytes, Math.max(0, available));
    }
  }

  /** Undefined where there is no limit and the browser does not tell. */
  async #availableBytes(): Promise<number | undefined> {
    const { usage, quota } = (await globalThis.navigator?.storage?.estimate?.()) ?? {};
    const browser = quota === undefined ? Infinity : quota - (usage ?? 0);
    const own = this.#maxBytes === Infinity ? Infinity : this.#maxBytes - (await this.bytes());
    const available = Math.min(browser, own);
    return available === Infinity ? undefined : available;
  }

  #lockOf(name: string): string {
    return `${this.#name}/${name}`;
  }
}

async function describe(folder: FileSystemDirectoryHandle): Promise<CachedModel | undefined> {
  const about = await readJson(folder, 'model.json');
  if (typeof about?.['url'] !== 'string') return undefined;
  const files: CachedModelFile[] = [];
  for await (const handle of folder.values()) {
    if (handle.kind !== 'directory') continue;
    const entry = new CacheEntry(handle);
    const note = await entry.note();
    if (!note || note.absent) continue;
    const { path, size, complete, sha256 } = note;
    files.push({ path, size, complete, sha256, bytes: await entry.bytes() });
  }
  return {
    url: about['url'],
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    files: files.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    lastUsed: new Date(Number(about['lastUsed'])),
  };
}

function folderUrl(url: string | URL): URL {
  const base = new URL(url, globalThis.location?.href);
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  return base;
}

function modelName(base: URL): string {
  return nameOf(keyOf(base));
}

function keyOf({ origin, pathname }: URL): string {
  return origin + pathname;
}
