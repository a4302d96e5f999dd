import { InvalidModelError, SourceError } from '../errors.ts';
import { resolveSibling } from '../source/path.ts';
import type { ByteSource, FileStore } from '../source/source.ts';
import { bytesOf } from '../tensor/dtype.ts';
import { sizeOf } from '../tensor/shape.ts';
import type { TensorRef } from './model.ts';

/** A tensor whose bytes are in another file, as the model names it. */
export interface ExternalData {
  tensor: TensorRef;
  entries: ReadonlyMap<string, string>;
  /** Where in the model file the tensor is declared. */
  offset: number;
}

/**
 * Points every tensor's `data` into its file. Each file is opened, and its size asked for, once.
 * Throws `InvalidModelError` for a file that is absent (unless `allowMissing`), a path outside the store or a range
 * beyond the file's end.
 */
export async function resolveExternalData(
  external: readonly ExternalData[],
  store: FileStore,
  modelPath: string,
  options: { allowMissing: boolean; signal: AbortSignal | undefined },
): Promise<void> {
  const files = new Map<string, { source: ByteSource; size: number } | undefined>();
  for (const item of external) {
    const { tensor } = item;
    const fail = (message: string, cause?: unknown): never => {
      const text = `external data of tensor '${tensor.name}': ${message}`;
      throw new InvalidModelError(text, { file: modelPath, offset: item.offset, cause });
    };
    const { path, offset, length } = placeOf(item, modelPath, fail);
    if (!files.has(path)) files.set(path, await open(store, path, options.signal));
    const file = files.get(path);
    if (file !== undefined) {
      if (offset + length > file.size) {
        fail(
          `'${path}' has ${file.size} bytes; ${length} from ${offset} are wanted. Is it truncated or another model's?`,
        );
      }
      tensor.data = { kind: 'range', source: file.source, offset, length };
    } else if (options.allowMissing) {
      tensor.data = { kind: 'missing', location: path, offset, length };
    } else {
      fail(`the file '${path}' is missing. It must lie beside the model under that name.`);
    }
  }
}

function placeOf(
  { tensor, entries }: ExternalData,
  modelPath: string,
  fail: (message: string, cause?: unknown) => never,
): { path: string; offset: number; length: number } {
  const location = entries.get('location') ?? '';
  let path = '';
  try {
    path = resolveSibling(modelPath, location);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    fail(`its location cannot be used: ${error.message}`, error);
  }
  const number = (key: string, missing: number): number => {
    const entry = entries.get(key) ?? '';
    if (entry === '') return missing;
    if (!/^\d+$/.test(entry) || !Number.isSafeInteger(Number(entry)))
      fail(`${key} '${entry}' is no byte count`);
    return Number(entry);
  };
  const wanted = bytesOf(tensor.dtype, sizeOf(tensor.dims));
  const length = number('length', wanted);
  if (length !== wanted) {
    fail(`${length} bytes where ${tensor.dtype}[${tensor.dims.join(', ')}] has ${wanted}`);
  }
  return { path, offset: number('offset', 0), length };
}

async function open(
  store: FileStore,
  path: string,
  signal: AbortSignal | undefined,
): Promise<{ source: ByteSource; size: number } | undefined> {
  signal?.throwIfAborted();
  if (!(await store.has(path))) return undefined;
  const source = await store.open(path);
  return { source, size: await source.size(signal) };
}
