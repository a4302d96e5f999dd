import { InvalidModelError } from '../errors.ts';
import { normalizePath } from '../source/path.ts';
import type { FileStore } from '../source/source.ts';
import { decodeModel } from './decode.ts';
import { type ExternalData, resolveExternalData } from './external-data.ts';
import type { Model, TensorRef } from './model.ts';
import { readStructure } from './structure.ts';
import { WireReader } from './wire.ts';

export interface ReadModelOptions {
  signal?: AbortSignal;
  /** Opens graphs whose external data is absent: those tensors get `{ kind: 'missing' }`. */
  allowMissingExternalData?: boolean;
}

/**
 * Reads an ONNX file. Weights are not fetched: tensors above 4 KiB become ranges of their file.
 * Throws `InvalidModelError` for a file that is no sound ONNX model, `SourceError` for bytes that cannot be fetched.
 */
export async function readModel(
  store: FileStore,
  path: string,
  options: ReadModelOptions = {},
): Promise<Model> {
  if (store.readModel) return store.readModel(path, options);
  const { signal, allowMissingExternalData = false } = options;
  const source = await store.open(path);
  const size = await source.size(signal);
  if (size === 0) throw new InvalidModelError('the file is empty', { file: source.name, offset: 0 });
  const segments = await readStructure(source, size, signal);
  const external: ExternalData[] = [];
  const model = decodeModel(new WireReader(source.name, size, segments), { source, external });
  await resolveExternalData(external, store, normalizePath(path), {
    allowMissing: allowMissingExternalData,
    signal,
  });
  const files = new Set([source]);
  for (const { tensor } of external) if (tensor.data.kind === 'range') files.add(tensor.data.source);
  return { ...model, files: [...files] };
}

/**
 * The bytes of a constant in ONNX's raw layout. Possibly a view of memory that is shared: do not write to them.
 * Throws `InvalidModelError` for missing external data and tensors of strings, `SourceError` when fetching fails.
 */
export async function readTensor(ref: TensorRef, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const { data } = ref;
  switch (data.kind) {
    case 'inline':
      return data.bytes;
    case 'range':
      return data.source.read(data.offset, data.length, signal);
    case 'missing':
      throw new InvalidModelError(`the external data of tensor '${ref.name}' is missing`, {
        file: data.location,
      });
    case 'strings':
      throw new InvalidModelError('a tensor of strings has no bytes', { file: ref.name });
  }
}
