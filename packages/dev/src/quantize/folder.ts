import { copyFile, mkdir, open, readdir, rm, stat, writeFile, type FileHandle } from 'node:fs/promises';
import { dirname, join, posix, relative, sep } from 'node:path';
import {
  bytesOf,
  readModel,
  writeModel,
  type ByteSource,
  type FileStore,
  type TensorRef,
} from '@calotype/core/tools';
import { quantizeModel, type ConstantWriter } from './model.ts';

/** What to make of a component's weights. */
export type FolderFormat = 'int8' | 'int4' | 'as-stored';

/** What became of one graph. */
export interface GraphResult {
  path: string;
  format: FolderFormat;
  weights: number;
  bytesBefore: number;
  bytesAfter: number;
}

/** Constants up to this many bytes stay in the graph. */
const INLINE_BYTES = 1024;

/** Where tensors begin in the file of weights. */
const ALIGNMENT = 64;

/** Bytes copied at a time. */
const CHUNK = 2 ** 24;

/**
 * Writes `target`: every graph under `source` with its weights quantized as `formatOf` says by its path, and all other
 * files as they are.
 *
 * @throws Error where a graph cannot be quantized; what was written for it is removed
 */
export async function quantizeFolder(
  source: string,
  target: string,
  formatOf: (graph: string) => FolderFormat,
  onGraph: (result: GraphResult) => void,
): Promise<void> {
  const files = await filesOf(source);
  const store = nodeStore(source);
  const taken = new Set<string>();
  for (const path of files.filter((file) => file.endsWith('.onnx'))) {
    const format = formatOf(path);
    if (format === 'as-stored') continue;
    const { data, result } = await quantizeGraph(store, path, target, format);
    if (result.weights > 0) for (const file of data) taken.add(file);
    onGraph(result);
  }
  for (const path of files) {
    if (taken.has(path)) continue;
    await mkdir(dirname(join(target, path)), { recursive: true });
    await copyFile(join(source, path), join(target, path));
  }
}

async function quantizeGraph(
  store: FileStore,
  path: string,
  target: string,
  format: 'int8' | 'int4',
): Promise<{ data: Set<string>; result: GraphResult }> {
  const model = await readModel(store, path);
  // Files of weights that the new one stands for.
  const data = new Set<string>();
  for (const ref of model.graph.initializers.values()) {
    if (ref.data.kind === 'range') data.add(ref.data.source.name);
  }
  data.add(path);
  const sizes = await Promise.all([...data].map(async (file) => (await store.open(file)).size()));
  await mkdir(dirname(join(target, path)), { recursive: true });
  const location = `${posix.basename(path)}.data`;
  const writer = new DataWriter(join(target, posix.dirname(path), location), location);
  try {
    const quantized = await quantizeModel(model, format, writer);
    const bytesBefore = sizes.reduce((sum, size) => sum + size, 0);
    if (quantized.weights === 0) {
      return { data, result: { path, format, weights: 0, bytesBefore, bytesAfter: bytesBefore } };
    }
    const { initializers } = quantized.model.graph;
    for (const [name, ref] of initializers) initializers.set(name, await writer.keep(ref));
    const { bytes } = writeModel(quantized.model, { keepPlaces: true });
    await writeFile(join(target, path), bytes);
    await writer.close();
    const result = {
      path,
      format,
      weights: quantized.weights,
      bytesBefore,
      bytesAfter: bytes.byteLength + writer.bytes,
    };
    return { data, result };
  } catch (error) {
    await writer.close();
    await rm(writer.path, { force: true });
    throw new Error(`${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** Appends constants to a model's file of weights. */
class DataWriter implements ConstantWriter {
  readonly path: string;
  readonly #location: string;
  #file: FileHandle | undefined;
  #bytes = 0;

  constructor(path: string, location: string) {
    this.path = path;
    this.#location = location;
  }

  /** Written so far. */
  get bytes(): number {
    return this.#bytes;
  }

  async write(
    name: string,
    { dtype, dims }: Pick<TensorRef, 'dtype' | 'dims'>,
    bytes: Uint8Array<ArrayBuffer>,
  ): Promise<TensorRef> {
    if (bytes.byteLength <= INLINE_BYTES) return { name, dtype, dims, data: { kind: 'inline', bytes } };
    const offset = await this.#begin();
    await this.#append(bytes);
    return this.#placed({ name, dtype, dims }, offset);
  }

  /** A constant of the model that stays as it is. */
  async keep(ref: TensorRef): Promise<TensorRef> {
    const { data } = ref;
    if (data.kind !== 'range') return ref;
    const offset = await this.#begin();
    for (let at = 0; at < data.length; at += CHUNK) {
      await this.#append(await data.source.read(data.offset + at, Math.min(CHUNK, data.length - at)));
    }
    return this.#placed(ref, offset);
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  #placed({ name, dtype, dims }: Omit<TensorRef, 'data'>, offset: number): TensorRef {
    const length = bytesOf(
      dtype,
      dims.reduce((product, dim) => product * dim, 1),
    );
    return { name, dtype, dims, data: { kind: 'missing', location: this.#location, offset, length } };
  }

  async #begin(): Promise<number> {
    const gap = -this.#bytes & (ALIGNMENT - 1);
    if (gap > 0) await this.#append(new Uint8Array(gap));
    return this.#bytes;
  }

  async #append(bytes: Uint8Array): Promise<void> {
    this.#file ??= await open(this.path, 'w');
    await this.#file.writeFile(bytes);
    this.#bytes += bytes.byteLength;
  }
}

/** All files under a folder, by relative path with slashes. */
async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .toSorted();
}

function nodeStore(folder: string): FileStore {
  return {
    async open(path) {
      const file = join(folder, path);
      const { size } = await stat(file);
      return nodeSource(path, file, size);
    },
    has: async (path) => (await stat(join(folder, path)).catch(() => undefined))?.isFile() ?? false,
  };
}

function nodeSource(name: string, file: string, size: number): ByteSource {
  return {
    name,
    size: async () => size,
    async read(offset, length) {
      await using handle = await open(file);
      const bytes = new Uint8Array(length);
      const { bytesRead } = await handle.read(bytes, 0, length, offset);
      if (bytesRead < length) throw new Error(`${name} ends ${length - bytesRead} bytes early`);
      return bytes;
    },
  };
}
