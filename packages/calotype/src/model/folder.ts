import {
  directoryStore,
  mapStore,
  openModelStore,
  type FileStore,
  type ModelStore,
  type ModelStoreOptions,
} from '@calotype/core';
import { ModelFolderError } from '../errors.ts';

/** Where a model folder is: its URL, a directory the user picked, or its files by relative path. */
export type ModelSource =
  string | URL | FileSystemDirectoryHandle | FileStore | Readonly<Record<string, Blob>>;

/** A model folder in the layout of diffusers: `model_index.json` and one folder a component. */
export class ModelFolder {
  readonly store: FileStore;
  /** Component → [library, class], as `model_index.json` has it. */
  readonly components: ReadonlyMap<string, readonly [string, string]>;
  /** `_class_name` of `model_index.json`, e.g. `StableDiffusionPipeline`. */
  readonly pipelineClass: string;
  /** `model_index.json` */
  readonly index: Readonly<Record<string, unknown>>;

  private constructor(store: FileStore, index: Record<string, unknown>) {
    this.store = store;
    this.index = index;
    const name = index['_class_name'];
    this.pipelineClass = typeof name === 'string' ? name : '';
    this.components = new Map(
      Object.entries(index).flatMap(([name, value]) =>
        Array.isArray(value) && typeof value[1] === 'string'
          ? [[name, [String(value[0]), value[1]] as const]]
          : [],
      ),
    );
  }

  /**
   * @param options.cache see `LoadOptions.cache`
   * @throws ModelFolderError without a readable `model_index.json`; SourceError when fetching fails
   */
  static async open(
    source: ModelSource,
    signal?: AbortSignal,
    options: Pick<ModelStoreOptions, 'cache'> = {},
  ): Promise<ModelFolder> {
    const store = await openStore(source, options);
    const index = await readJson(store, 'model_index.json', signal);
    if (!index) {
      throw new ModelFolderError(
        'model_index.json',
        'is missing. Give the folder that holds it (the diffusers ONNX layout: unet/model.onnx, text_encoder/model.onnx, …).',
      );
    }
    return new ModelFolder(store, index);
  }

  /** Whether a component's graph is there. */
  hasGraph(component: string): Promise<boolean> {
    return this.store.has(`${component}/model.onnx`);
  }

  /** Path of a component's graph. Throws `ModelFolderError` when the folder has none. */
  async graph(component: string): Promise<string> {
    const path = `${component}/model.onnx`;
    if (await this.store.has(path)) return path;
    throw new ModelFolderError(path, 'is missing, and this pipeline needs it.');
  }

  /** A JSON file of the folder; `undefined` when it is not there. */
  json(path: string, signal?: AbortSignal): Promise<Record<string, unknown> | undefined> {
    return readJson(this.store, path, signal);
  }

  /** A text file of the folder; `undefined` when it is not there. */
  text(path: string, signal?: AbortSignal): Promise<string | undefined> {
    return readText(this.store, path, signal);
  }
}

/** Files of a model; those of a URL with what a `ModelStore` has beside. */
export type OpenedStore = FileStore & Partial<ModelStore>;

/** The files of a source: those of a URL through the cache. */
export async function openStore(source: ModelSource, options: ModelStoreOptions = {}): Promise<OpenedStore> {
  if (typeof source === 'string' || source instanceof URL) return openModelStore(source, options);
  if (typeof FileSystemDirectoryHandle !== 'undefined' && source instanceof FileSystemDirectoryHandle) {
    return directoryStore(source);
  }
  if ('open' in source && typeof source.open === 'function') return source as FileStore;
  return mapStore(source as Record<string, Blob>);
}

async function readText(store: FileStore, path: string, signal?: AbortSignal): Promise<string | undefined> {
  if (!(await store.has(path))) return undefined;
  const file = await store.open(path);
  return new TextDecoder().decode(await file.read(0, await file.size(), signal));
}

/** A JSON object out of a store; `undefined` when it is not there. */
export async function readJson(
  store: FileStore,
  path: string,
  signal?: AbortSignal,
): Promise<Record<string, unknown> | undefined> {
  const text = await readText(store, path, signal);
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch (cause) {
    throw new ModelFolderError(path, 'is not JSON.', cause);
  }
  throw new ModelFolderError(path, 'is not a JSON object.');
}
