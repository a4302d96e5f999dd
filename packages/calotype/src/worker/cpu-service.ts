import {
  readModel,
  Tensor,
  type ByteSource,
  type FetchProgress,
  type FileStore,
  type Model,
  type StoreReport,
} from '@calotype/core';
import type { Job } from '@calotype/scheduler';
import { openStore, type OpenedStore } from '../model/folder.ts';
import { openImage } from '../stages/image-input.ts';
import { PromptTokenizer } from '../tokenizer/index.ts';
import type { WireFetching, WireSource } from './messages.ts';

/** Name of a worker that does these jobs. */
export const CPU_THREAD = 'calotype-cpu';

/** A picture as it can be sent between threads. */
export type WireImage = Blob | ImageBitmap | ImageData;

/** How far the files of a model have come: told at most every 100 ms, and when all that were opened are there. */
export interface FilesEvent {
  report: StoreReport;
  progress: FetchProgress;
}

/** A file of a model whose files were opened under `id`. */
interface FileAddress {
  id: string;
  path: string;
}

/** The jobs of the thread beside the GPU's: what takes a processor, and needs no GPU. */
// A type, not an interface: only those fit the index signature of `Service`.
export type CpuService = {
  /** Answers, so that it is known whether there is such a thread. */
  greet: Job<undefined, void>;
  /** Opens the files of a model, through the cache where they are a server's, and keeps them until it is aborted. */
  files: Job<
    { id: string; source: WireSource; cache: boolean | undefined; fetching: WireFetching | undefined },
    void,
    FilesEvent
  >;
  has: Job<FileAddress, boolean>;
  /** Gives the name that errors call the file. */
  open: Job<FileAddress, string>;
  size: Job<FileAddress, number>;
  /** The bytes are at the start of what is given back: `memory` where that is large enough. */
  read: Job<FileAddress & { offset: number; length: number; memory: ArrayBuffer | undefined }, ArrayBuffer>;
  /** Reads an ONNX file. Its sources are `SentSource`s. */
  parse: Job<FileAddress & { allowMissingExternalData: boolean | undefined }, Model>;
  /** See `ModelStore.finish`. */
  finish: Job<{ id: string; all: boolean | undefined }, StoreReport>;
  /** Token ids of texts, without special tokens; `undefined` where `made` is needed to make the tokenizer. */
  tokenize: Job<
    { id: string; made: PromptTokenizer['made'] | undefined; texts: readonly string[] },
    number[][] | undefined
  >;
  /** Decodes a picture, and draws it as large as asked for, or as itself, rounded down to a multiple. */
  picture: Job<
    {
      image: WireImage;
      /** Whose value it is, for errors. */
      option: string;
      width: number | undefined;
      height: number | undefined;
      multiple: number;
    },
    DrawnPicture
  >;
  /** Makes a PNG file of pixels, four bytes each. */
  encode: Job<{ width: number; height: number; pixels: ArrayBuffer }, Blob>;
};

export interface DrawnPicture {
  /** Size of the picture as it was given. */
  own: { width: number; height: number };
  width: number;
  height: number;
  /** float32 planes of red, green and blue, 0 to 1. */
  planes: ArrayBuffer;
}

/** What a `ByteSource` is after it was sent. */
export interface SentSource {
  path: string;
  name: string;
}

/** Milliseconds between reports of how far files have come. */
const REPORT_MS = 100;

/** The jobs, for one thread to do. */
export function cpuService(): CpuService {
  const stores = new Map<string, Slot>();
  const tokenizers = new Map<string, PromptTokenizer>();
  // After a crash of the thread before, reads may come before the files are opened again.
  const slotOf = (id: string): Slot => {
    let slot = stores.get(id);
    if (!slot) stores.set(id, (slot = newSlot()));
    return slot;
  };
  const sourceOf = async ({ id, path }: FileAddress): Promise<ByteSource> =>
    (await slotOf(id).promise).open(path);
  return {
    greet: async () => {},

    files: async ({ id, source, cache, fetching }, { signal, emit, keep }) => {
      const slot = slotOf(id);
      let told = 0;
      try {
        const store: OpenedStore = await openStore(source, {
          ...fetching,
          ...(cache !== undefined && { cache }),
          onProgress: (progress) => {
            const now = performance.now();
            if (!store.report || (now - told < REPORT_MS && progress.loaded < progress.total)) return;
            told = now;
            emit({ report: store.report(), progress });
          },
        });
        slot.resolve(store);
        // Whoever asked has got through: how often it must be asked again is counted anew.
        keep(undefined);
        await new Promise<void>((resolve) => {
          if (signal.aborted) resolve();
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
        store.dispose?.();
      } catch (error) {
        slot.reject(error);
        throw error;
      } finally {
        stores.delete(id);
      }
    },

    has: async ({ id, path }) => (await slotOf(id).promise).has(path),
    open: async (address) => (await sourceOf(address)).name,
    size: async (address, { signal }) => (await sourceOf(address)).size(signal),

    read: async ({ offset, length, memory, ...address }, { signal }) => {
      const source = await sourceOf(address);
      const target = memory && memory.byteLength >= length ? memory : new ArrayBuffer(length);
      const view = new Uint8Array(target, 0, length);
      if (source.readInto) await source.readInto(offset, view, signal);
      else view.set(await source.read(offset, length, signal));
      return target;
    },

    parse: async ({ id, path, allowMissingExternalData = false }, { signal }) => {
      const store = sendable(await slotOf(id).promise);
      return readModel(store, path, { signal, allowMissingExternalData });
    },

    finish: async ({ id, all = false }, { signal }) => {
      const store = await slotOf(id).promise;
      await store.finish?.({ all, signal });
      return store.report?.() ?? { cache: 'none', files: [] };
    },

    tokenize: async ({ id, made, texts }) => {
      let tokenizer = tokenizers.get(id);
      if (!tokenizer && !made) return undefined;
      if (!tokenizer) tokenizers.set(id, (tokenizer = new PromptTokenizer(made!.files, made!.options)));
      return texts.map((text) => tokenizer.encodeContent(text));
    },

    picture: async ({ image, option, multiple, ...wanted }) => {
      const opened = await openImage(image, option);
      const fit = (pixels: number): number => Math.max(multiple, Math.floor(pixels / multiple) * multiple);
      const { width = fit(opened.width), height = fit(opened.height) } = wanted;
      const { data } = opened.rgb(width, height);
      return { own: { width: opened.width, height: opened.height }, width, height, planes: data.buffer };
    },

    encode: ({ width, height, pixels }) => {
      const canvas = new OffscreenCanvas(width, height);
      // Read again at once: nothing of it belongs on a GPU.
      const context = canvas.getContext('2d', { willReadFrequently: true })!;
      context.putImageData(new ImageData(new Uint8ClampedArray(pixels), width, height), 0, 0);
      return canvas.convertToBlob({ type: 'image/png' });
    },
  };
}

/** The files of a model, once they are opened. */
interface Slot {
  promise: Promise<OpenedStore>;
  resolve: (store: OpenedStore) => void;
  reject: (error: unknown) => void;
}

function newSlot(): Slot {
  let settle: Pick<Slot, 'resolve' | 'reject'> | undefined;
  const promise = new Promise<OpenedStore>((resolve, reject) => (settle = { resolve, reject }));
  // Whoever reads hears of it.
  promise.catch(() => {});
  return { promise, ...settle! };
}

/** A store whose sources lose their methods when they are sent, and nothing else. */
function sendable(store: FileStore): FileStore {
  const sent = new Map<string, ByteSource>();
  return {
    has: (path) => store.has(path),
    async open(path) {
      let known = sent.get(path);
      if (known) return known;
      const source = await store.open(path);
      // Methods that are not enumerable are left out by structured clones.
      known = Object.defineProperties({ path, name: source.name } satisfies SentSource, {
        size: { value: (signal?: AbortSignal) => source.size(signal) },
        read: { value: (...args: Parameters<ByteSource['read']>) => source.read(...args) },
      }) as unknown as ByteSource;
      sent.set(path, known);
      return known;
    },
  };
}

/** A drawn picture as pipelines take it. */
export function tensorOf({ width, height, planes }: DrawnPicture): Tensor<'float32'> {
  return new Tensor('float32', [1, 3, height, width], new Float32Array(planes));
}
