import type { FileVersion } from '../source/remote-file.ts';
import { ChunkFolder, isNamed, isSync, type SyncFileHandle } from './chunk-folder.ts';

/** What the cache notes of a file, beside its chunks. */
export interface EntryNote extends FileVersion {
  path: string;
  /** The server has no such file: noted so that this is known without network too. */
  absent: boolean;
  /** All of it is there. */
  complete: boolean;
  /** Digest that the contents were checked against. */
  sha256: string | undefined;
  /** Folder of the chunks. Changed contents get another, so that whoever reads the old ones never sees new ones. */
  generation: string;
}

const NOTE = 'note.json';

/** How often to begin a read anew that another tab's write came into. */
const READ_TRIES = 20;

/** One file in the cache: a folder that holds a note and a folder of chunks. */
export class CacheEntry {
  readonly #folder: FileSystemDirectoryHandle;

  constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  /** The note; `undefined` where there is none that can be read. */
  async note(): Promise<EntryNote | undefined> {
    const note = await readJson(this.#folder, NOTE);
    return typeof note?.['generation'] === 'string' ? (note as unknown as EntryNote) : undefined;
  }

  /** Starts over: removes every chunk and notes what is to come. */
  async begin(note: Omit<EntryNote, 'generation' | 'complete' | 'sha256'>): Promise<EntryNote> {
    await this.remove();
    const fresh = { ...note, complete: false, sha256: undefined, generation: crypto.randomUUID() };
    await this.write(fresh);
    return fresh;
  }

  async write(note: EntryNote): Promise<void> {
    await writeJson(this.#folder, NOTE, note);
  }

  async chunks({ generation, path }: EntryNote): Promise<ChunkFolder> {
    return new ChunkFolder(await this.#folder.getDirectoryHandle(generation, { create: true }), path);
  }

  /** Removes the note, then the chunks, as far as nobody has them open. */
  async remove(): Promise<void> {
    const names: string[] = [];
    for await (const name of this.#folder.keys()) names.push(name);
    for (const name of names.toSorted((a, b) => Number(b === NOTE) - Number(a === NOTE))) {
      // What another tab is writing to right now is removed by the next one that starts over.
      await this.#folder.removeEntry(name, { recursive: true }).catch(() => {});
    }
  }

  /** Bytes that lie in the cache. */
  async bytes(): Promise<number> {
    let bytes = 0;
    for await (const handle of this.#folder.values()) {
      if (handle.kind !== 'directory') continue;
      for (const size of (await new ChunkFolder(handle, this.#folder.name).sizes()).values()) bytes += size;
    }
    return bytes;
  }
}

/** A JSON object of a folder; `undefined` where there is none, or none that can be read. */
export async function readJson(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<Record<string, unknown> | undefined> {
  for (let left = READ_TRIES; ; left--) {
    try {
      const file = await (await folder.getFileHandle(name)).getFile();
      const value: unknown = JSON.parse(await file.text());
      return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
    } catch (error) {
      if (error instanceof SyntaxError || isNamed(error, 'NotFoundError')) return undefined;
      // A `File` can be read until the file is written again, by another tab for instance.
      if (left === 0 || !isNamed(error, 'NotReadableError')) throw error;
    }
  }
}

export async function writeJson(
  folder: FileSystemDirectoryHandle,
  name: string,
  value: unknown,
): Promise<void> {
  const handle = await folder.getFileHandle(name, { create: true });
  const text = JSON.stringify(value);
  if (isSync(handle) && !('createWritable' in handle)) {
    // Safari before 26, in workers. A page killed here leaves half a text, which is read as none.
    const access = await (handle as SyncFileHandle).createSyncAccessHandle();
    access.truncate(0);
    access.write(new TextEncoder().encode(text), { at: 0 });
    access.flush();
    access.close();
    return;
  }
  const stream = await handle.createWritable();
  await stream.write(text);
  await stream.close();
}
