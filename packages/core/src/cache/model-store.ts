import { UnsupportedCacheError } from '../errors.ts';
import { normalizePath } from '../source/path.ts';
import type { ByteSource, FileStore } from '../source/source.ts';
import { urlStore } from '../source/url-store.ts';
import type { FileReport } from './cached-file.ts';
import type { FetchProgress } from './cached-store.ts';
import type { CachedStoreOptions, ModelCache } from './model-cache.ts';

/** The files of a model on a server. */
export interface ModelStore extends FileStore {
  /**
   * Brings the rest of the files that were begun, and checks them where a digest is known: from then on what was used so
   * far works without network. Does nothing where nothing is cached.
   *
   * @throws SourceError, DigestError, QuotaError, the signal's reason
   */
  finish(options?: FinishOptions): Promise<void>;
  /** How the files come. */
  report(): StoreReport;
  /** Gives back what it holds of the cache. Idempotent. */
  dispose(): void;
}

export interface FinishOptions {
  /** Also brings files that were opened, to read a model's structure, but not begun. */
  all?: boolean;
  signal?: AbortSignal;
}

/** How the files of a model come. */
export interface StoreReport {
  /** Where they are kept: `opfs` is the origin-private file system; `none` means that every load fetches anew. */
  cache: 'opfs' | 'none';
  /** Why nothing is kept. */
  reason?: string;
  /** Files that were opened, with what could be better about each. */
  files: FileReport[];
}

export interface ModelStoreOptions extends CachedStoreOptions {
  /** The cache to go through: the origin's own by default, `false` for none. */
  cache?: ModelCache | boolean;
}

/**
 * The files below `baseUrl`: kept in the cache where the browser has one, streamed where not, as `report` then says.
 * Digests are checked by the cache only.
 */
export async function openModelStore(
  baseUrl: string | URL,
  options: ModelStoreOptions = {},
): Promise<ModelStore> {
  const { cache = true } = options;
  if (cache === false) return new StreamedStore(baseUrl, options, 'the caller wants none');
  try {
    return (cache === true ? await openCache() : cache).store(baseUrl, options);
  } catch (error) {
    if (!(error instanceof UnsupportedCacheError)) throw error;
    return new StreamedStore(baseUrl, options, error.message);
  }
}

/** The origin's own. Who wants none does not fetch its code either. */
async function openCache(): Promise<ModelCache> {
  return (await import('./model-cache.ts')).ModelCache.open();
}

/** Files that are fetched whenever they are read. */
class StreamedStore implements ModelStore {
  readonly #store: FileStore;
  readonly #reason: string;
  readonly #onProgress: ((progress: FetchProgress) => void) | undefined;
  readonly #reports = new Map<string, FileReport>();

  constructor(baseUrl: string | URL, options: CachedStoreOptions, reason: string) {
    this.#store = urlStore(baseUrl, options);
    this.#reason = reason;
    this.#onProgress = options.onProgress;
  }

  has(path: string): Promise<boolean> {
    return this.#store.has(path);
  }

  async open(path: string): Promise<ByteSource> {
    const source = await this.#store.open(path);
    const report = this.#reportOf(normalizePath(path), source.name);
    const size = async (signal?: AbortSignal): Promise<number> => (report.bytes = await source.size(signal));
    const count = async (bytes: number): Promise<void> => {
      // Some is read twice: a model's structure, weights that come back after they were evicted.
      report.loadedBytes = Math.min(report.loadedBytes + bytes, await size());
      this.#tell(report.path);
    };
    return {
      name: source.name,
      size,
      async read(offset, length, signal) {
        const bytes = await source.read(offset, length, signal);
        await count(length);
        return bytes;
      },
      async readInto(offset, target, signal) {
        await source.readInto!(offset, target, signal);
        await count(target.length);
      },
    };
  }

  async finish(): Promise<void> {}

  report(): StoreReport {
    return { cache: 'none', reason: this.#reason, files: [...this.#reports.values()] };
  }

  dispose(): void {}

  #reportOf(path: string, url: string): FileReport {
    let report = this.#reports.get(path);
    if (!report) {
      report = { path, url, bytes: undefined, cachedBytes: 0, loadedBytes: 0, sha256: undefined, notes: [] };
      this.#reports.set(path, report);
    }
    return report;
  }

  #tell(path: string): void {
    const progress = { path, loaded: 0, total: 0, cached: 0 };
    for (const { bytes = 0, loadedBytes } of this.#reports.values()) {
      progress.loaded += loadedBytes;
      progress.total += bytes;
    }
    this.#onProgress?.(progress);
  }
}
