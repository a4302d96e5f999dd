import type {
  ByteSource,
  FetchProgress,
  FinishOptions,
  Model,
  ModelStore,
  ReadModelOptions,
  StoreReport,
} from '@calotype/core';
import { WorkerCrashedError } from '@calotype/scheduler';
import type { SentSource } from './cpu-service.ts';
import type { CpuThread } from './cpu-thread.ts';
import type { WireFetching, WireSource } from './messages.ts';

/** Blocks of memory kept to be read into again. */
const KEPT_BLOCKS = 6;

/** Times that a read is tried again on another worker. */
const RETRIES = 2;

export interface RemoteStoreOptions {
  cache?: boolean;
  fetching?: WireFetching;
  /** Hears of bytes that come, at most every 100 ms and at the end. */
  onFetch?: (progress: FetchProgress) => void;
}

/** The files of a model, fetched, checked, cached and parsed in another thread. */
export class RemoteStore implements ModelStore {
  readonly #thread: CpuThread;
  readonly #id: string = crypto.randomUUID();
  readonly #closing = new AbortController();
  readonly #opened: Promise<void>;
  /** Memory that travels: what was read is copied out of it, and it goes back with the next read. */
  readonly #blocks: ArrayBuffer[] = [];
  #report: StoreReport = { cache: 'none', files: [] };

  constructor(thread: CpuThread, source: WireSource, options: RemoteStoreOptions = {}) {
    const { cache, fetching, onFetch } = options;
    this.#thread = thread;
    this.#opened = thread.call(
      'files',
      { id: this.#id, source, cache, fetching },
      {
        signal: this.#closing.signal,
        resumable: true,
        onEvent: ({ report, progress }) => {
          this.#report = report;
          onFetch?.(progress);
        },
      },
    );
    // Whoever reads hears of it.
    this.#opened.catch(() => {});
  }

  has(path: string): Promise<boolean> {
    return this.#thread.call('has', this.#address(path), { resumable: true });
  }

  async open(path: string): Promise<ByteSource> {
    const name = await this.#thread.call('open', this.#address(path), { resumable: true });
    return this.#source({ path, name });
  }

  async readModel(path: string, { signal, allowMissingExternalData }: ReadModelOptions = {}): Promise<Model> {
    const input = { ...this.#address(path), allowMissingExternalData };
    const model = await this.#thread.call('parse', input, { signal, resumable: true });
    // All of the model's references to a file are to the one object in this list.
    for (const sent of model.files) Object.assign(sent, this.#source(sent as unknown as SentSource));
    return model;
  }

  async finish({ all, signal }: FinishOptions = {}): Promise<void> {
    this.#report = await this.#thread.call('finish', { id: this.#id, all }, { signal, resumable: true });
  }

  report(): StoreReport {
    return this.#report;
  }

  dispose(): void {
    this.#closing.abort(new DOMException('The files were closed.', 'AbortError'));
    this.#blocks.length = 0;
  }

  #address(path: string): { id: string; path: string } {
    return { id: this.#id, path };
  }

  #source({ path, name }: SentSource): ByteSource {
    return {
      name,
      size: (signal) => this.#thread.call('size', this.#address(path), { signal, resumable: true }),
      read: async (offset, length, signal) =>
        new Uint8Array(await this.#read(path, offset, length, undefined, signal), 0, length),
      readInto: async (offset, target, signal) => {
        const { length } = target;
        const at = this.#blocks.findIndex(({ byteLength }) => byteLength >= length);
        const memory = at < 0 ? undefined : this.#blocks.splice(at, 1)[0];
        const block = await this.#read(path, offset, length, memory, signal);
        target.set(new Uint8Array(block, 0, length));
        if (this.#blocks.length >= KEPT_BLOCKS) this.#blocks.shift();
        this.#blocks.push(block);
      },
    };
  }

  async #read(
    path: string,
    offset: number,
    length: number,
    memory: ArrayBuffer | undefined,
    signal: AbortSignal | undefined,
  ): Promise<ArrayBuffer> {
    for (let attempt = 0; ; attempt++) {
      try {
        // Not resumable, so that memory is moved; reading again does no harm.
        const input = { ...this.#address(path), offset, length, memory: attempt === 0 ? memory : undefined };
        return await this.#thread.call('read', input, { signal, bytes: length });
      } catch (error) {
        if (!(error instanceof WorkerCrashedError) || attempt === RETRIES) throw error;
      }
    }
  }
}
