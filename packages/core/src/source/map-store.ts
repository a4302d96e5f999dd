import { SourceError } from '../errors.ts';
import { blobSource } from './blob-source.ts';
import { bytesSource } from './bytes-source.ts';
import { normalizePath } from './path.ts';
import type { FileStore } from './source.ts';

/** Contents of one file of a `mapStore`. */
export type FileContents = Blob | Uint8Array<ArrayBuffer>;

/** Files that the caller holds, by relative path. Throws `SourceError` for a path that `normalizePath` refuses. */
export function mapStore(
  files: Readonly<Record<string, FileContents>> | ReadonlyMap<string, FileContents>,
): FileStore {
  const entries = files instanceof Map ? files.entries() : Object.entries(files);
  const byPath = new Map<string, FileContents>();
  for (const [path, contents] of entries) byPath.set(normalizePath(path), contents);
  return {
    async open(path) {
      const file = normalizePath(path);
      const contents = byPath.get(file);
      if (contents === undefined) throw new SourceError(file, 'no such file was given');
      return contents instanceof Uint8Array ? bytesSource(file, contents) : blobSource(file, contents);
    },
    has: async (path) => byPath.has(normalizePath(path)),
  };
}
