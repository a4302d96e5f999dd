import { mapStore } from './map-store.ts';
import type { FileStore } from './source.ts';
import { urlStore } from './url-store.ts';

/**
 * Where a model comes from. External data is looked for beside the model: in the folder of the URL or in the store. A
 * `Blob` or bytes alone can hold only models that carry their weights themselves.
 */
export type ModelSource =
  string | URL | Blob | Uint8Array<ArrayBuffer> | ArrayBuffer | { store: FileStore; path: string };

/** The store and the path in it that a source stands for. Throws `TypeError` for a string that is no URL. */
export function resolveModelSource(source: ModelSource): { store: FileStore; path: string } {
  if (typeof source === 'string' || source instanceof URL) return resolveUrl(source);
  const path = 'model.onnx';
  if (source instanceof ArrayBuffer) return { store: mapStore({ [path]: new Uint8Array(source) }), path };
  if (source instanceof Uint8Array || source instanceof Blob) {
    return { store: mapStore({ [path]: source }), path };
  }
  return source;
}

function resolveUrl(source: string | URL): { store: FileStore; path: string } {
  const url = new URL(source, globalThis.location?.href);
  const end = url.pathname.lastIndexOf('/') + 1;
  const path = decodeURIComponent(url.pathname.slice(end));
  url.pathname = url.pathname.slice(0, end);
  return { store: urlStore(url), path };
}
