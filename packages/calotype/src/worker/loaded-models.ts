import { Engine, type FileStore } from '@calotype/core';
import type { DecoderSource } from '../model/decoder.ts';
import { TextToImagePipeline } from '../pipelines/text-to-image.ts';
import type { CpuThread } from './cpu-thread.ts';
import type { LoadEvent, ModelSpec, WireDecoder, WireSource } from './messages.ts';
import { ModelLoras } from './model-loras.ts';
import { RemoteStore, type RemoteStoreOptions } from './remote-store.ts';

/** How often a device is asked for after a loss, and how long between: a GPU process takes a while to come back. */
const ATTEMPTS = 6;
const RETRY_MS = 250;

/** One device and the models on it. */
export class LoadedModels {
  readonly #createEngine: () => Promise<Engine>;
  readonly #thread: CpuThread;
  readonly #onLoss: (error: Error) => void;
  readonly #models = new Map<string, LoadedModel>();
  #engine: Promise<Engine> | undefined;
  /** Of sources in this thread that are no URLs. */
  readonly #names = new WeakMap<object, string>();
  #namesMade = 0;

  /**
   * @param thread reads the models' files
   * @param onLoss called when the device is lost
   */
  constructor(createEngine: () => Promise<Engine>, thread: CpuThread, onLoss: (error: Error) => void) {
    this.#createEngine = createEngine;
    this.#thread = thread;
    this.#onLoss = onLoss;
  }

  get size(): number {
    return this.#models.size;
  }

  /** The engine, made when it is first needed. */
  engine(): Promise<Engine> {
    if (this.#engine) return this.#engine;
    const opening = this.#open();
    this.#engine = opening;
    // The next one may find a device.
    opening.catch(() => {
      if (this.#engine === opening) this.#engine = undefined;
    });
    return opening;
  }

  /** The engine, if there is one. */
  async current(): Promise<Engine | undefined> {
    return this.#engine?.catch(() => undefined);
  }

  /** Takes a model into use, until the result is disposed of. It is loaded when it is first asked for. */
  use(spec: ModelSpec, onEvent?: (event: LoadEvent) => void): ModelUse {
    const key = this.#keyOf(spec);
    let model = this.#models.get(key);
    if (!model) {
      model = new LoadedModel(spec, () => this.engine(), this.#thread);
      this.#models.set(key, model);
    }
    return new ModelUse(model, onEvent, () => {
      if (model.users > 0) return;
      this.#models.delete(key);
      model.unload();
    });
  }

  /** Makes a new engine after a loss. Models are loaded again when they are next asked for. */
  async recover(): Promise<void> {
    const old = this.#engine;
    this.#engine = undefined;
    for (const model of this.#models.values()) model.unload();
    (await old?.catch(() => undefined))?.dispose();
    for (let attempt = 1; ; attempt++) {
      try {
        await this.engine();
        break;
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS * attempt));
      }
    }
    // What fails here is told to whoever needs the model.
    for (const model of this.#models.values()) model.pipeline().catch(() => {});
  }

  async #open(): Promise<Engine> {
    const engine = await this.#createEngine();
    void engine.lost.then((error) => {
      const isCurrent = this.#engine !== undefined;
      void this.#engine?.then((current) => {
        if (isCurrent && current === engine) this.#onLoss(error);
      });
    });
    return engine;
  }

  #keyOf({ source, name, decoder, previewDecoder, ...options }: ModelSpec): string {
    const where = typeof source === 'string' ? source : (name ?? this.#nameOf(source));
    const others = [decoder, previewDecoder].map((given) => {
      const isNamed = typeof given !== 'object' || ('source' in given && typeof given.source === 'string');
      return isNamed ? given : this.#nameOf(given);
    });
    return JSON.stringify([where, ...others, options], sorted);
  }

  #nameOf(source: object): string {
    let name = this.#names.get(source);
    if (!name) this.#names.set(source, (name = `#${this.#namesMade++}`));
    return name;
  }

  dispose(): void {
    for (const model of this.#models.values()) model.unload();
    this.#models.clear();
    void this.current().then((engine) => engine?.dispose());
    this.#engine = undefined;
  }
}

/** A model that is in use by somebody. */
export class LoadedModel {
  readonly spec: ModelSpec;
  readonly #engine: () => Promise<Engine>;
  readonly #thread: CpuThread;
  readonly #listeners = new Set<(event: LoadEvent) => void>();
  #loading: { pipeline: Promise<TextToImagePipeline>; controller: AbortController } | undefined;
  /** The LoRAs that its users hold. */
  readonly loras: ModelLoras = new ModelLoras(() => this.pipeline());
  users = 0;

  constructor(spec: ModelSpec, engine: () => Promise<Engine>, thread: CpuThread) {
    this.spec = spec;
    this.#engine = engine;
    this.#thread = thread;
  }

  /** The pipeline; loads the model where that was not done, or failed. */
  pipeline(): Promise<TextToImagePipeline> {
    if (this.#loading) return this.#loading.pipeline;
    const controller = new AbortController();
    const loading = { pipeline: this.#load(controller.signal), controller };
    this.#loading = loading;
    loading.pipeline.catch(() => {
      if (this.#loading === loading) this.#loading = undefined;
    });
    return loading.pipeline;
  }

  listen(listener: (event: LoadEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Frees the model, or stops loading it. It can be loaded again. */
  unload(): void {
    const loading = this.#loading;
    this.#loading = undefined;
    loading?.controller.abort(new DOMException('Nobody wants the model any more.', 'AbortError'));
    loading?.pipeline.then(
      (pipeline) => pipeline.dispose(),
      () => {},
    );
  }

  async #load(signal: AbortSignal): Promise<TextToImagePipeline> {
    const { source, precision, weights, cache, fetching, warmUp, decoder, previewDecoder } = this.spec;
    const reading: RemoteStoreOptions = {
      ...(cache !== undefined && { cache }),
      ...(fetching && { fetching }),
      onFetch: (progress) => this.#tell({ type: 'fetch', progress }),
    };
    const engine = await this.#engine();
    const isElsewhere = await this.#thread.isElsewhere();
    signal.throwIfAborted();
    // Closed with the model that reads from it, or that fails to load.
    const opened = <T extends WireSource | FileStore>(given: T): T | RemoteStore =>
      isElsewhere && isWire(given) ? new RemoteStore(this.#thread, given, reading) : given;
    const openedDecoder = (given: WireDecoder): DecoderSource =>
      isWire(given) ? opened(given) : { ...given, source: opened(given.source) };
    return TextToImagePipeline.fromPretrained(opened(source), {
      ...reading,
      engine,
      signal,
      ...(precision && { precision }),
      ...(weights && { weights }),
      ...(warmUp !== undefined && { warmUp }),
      ...(decoder !== undefined && { decoder: openedDecoder(decoder) }),
      ...(previewDecoder !== undefined && { previewDecoder: openedDecoder(previewDecoder) }),
      onProgress: (progress) => this.#tell({ type: 'progress', progress }),
    });
  }

  #tell(event: LoadEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** For `JSON.stringify`: objects with the same entries look the same, whatever the order. */
function sorted(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Whether a source can be sent to another thread. */
function isWire(source: WireDecoder | WireSource | FileStore): source is WireSource {
  if (typeof source === 'string') return true;
  if (typeof FileSystemDirectoryHandle !== 'undefined' && source instanceof FileSystemDirectoryHandle)
    return true;
  return Object.values(source).every((value) => value instanceof Blob);
}

/** Somebody's use of a model. */
export class ModelUse implements Disposable {
  readonly model: LoadedModel;
  readonly #release: () => void;
  #isOpen = true;

  constructor(model: LoadedModel, onEvent: ((event: LoadEvent) => void) | undefined, release: () => void) {
    this.model = model;
    model.users++;
    const stop = onEvent && model.listen(onEvent);
    this.#release = () => {
      stop?.();
      model.users--;
      release();
    };
  }

  [Symbol.dispose](): void {
    if (this.#isOpen) this.#release();
    this.#isOpen = false;
  }
}
