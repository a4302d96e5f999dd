import { SourceError } from '../errors.ts';
import { blobSource } from './blob-source.ts';
import { normalizePath } from './path.ts';
import type { FileStore } from './source.ts';

/** Files below a directory that the user picked or that lies in the origin-private file system. */
export function directoryStore(root: FileSystemDirectoryHandle): FileStore {
  return {
    async open(path) {
      const file = normalizePath(path);
      const handle = await find(root, file);
      if (handle === undefined) throw new SourceError(file, `no such file in '${root.name}'`);
      try {
        return blobSource(file, await handle.getFile());
      } catch (cause) {
        throw new SourceError(file, 'the file cannot be opened', { cause });
      }
    },
    has: async (path) => (await find(root, normalizePath(path))) !== undefined,
  };
}

async function find(
  root: FileSystemDirectoryHandle,
  path: string,
): Promise<FileSystemFileHandle | undefined> {
  const folders = path.split('/');
  const name = folders.pop()!;
  try {
    let folder = root;
    for (const part of folders) folder = await folder.getDirectoryHandle(part);
    return await folder.getFileHandle(name);
  } catch (cause) {
    const kind = cause instanceof DOMException ? cause.name : '';
    if (kind === 'NotFoundError' || kind === 'TypeMismatchError') return undefined;
    throw new SourceError(path, `the directory '${root.name}' cannot be read`, { cause });
  }
}
