import { SourceError } from '../errors.ts';
import { blobPieces, readBlobInto } from '../source/pieces.ts';
import { BLOCK_BYTES } from '../source/source.ts';

/** Appends to one chunk. */
export interface ChunkWriter {
  /** Bytes that are there. */
  readonly at: number;
  /** @throws DOMException `QuotaExceededError` */
  write(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Forgets what is there. */
  clear(): Promise<void>;
  /** Makes what was written lasting. */
  close(): Promise<void>;
}

/**
 * The bytes of one file in the origin-private file system, cut into chunks 0, 1, 2, … Chunks are only appended to, so
 * the length of a chunk's file is all there is to know of how far it came, also after the page was killed.
 */
export class ChunkFolder {
  readonly #folder: FileSystemDirectoryHandle;
  readonly #name: string;
  readonly #finished = new Map<number, Promise<File>>();

  constructor(folder: FileSystemDirectoryHandle, name: string) {
    this.#folder = folder;
    this.#name = name;
  }

  /** Bytes of every chunk that was begun. */
  async sizes(): Promise<Map<number, number>> {
    const sizes = new Map<number, number>();
    for await (const [name, handle] of this.#folder.entries()) {
      if (handle.kind === 'file') sizes.set(Number(name), (await handle.getFile()).size);
    }
    return sizes;
  }

  /** Opens a chunk for appending: synchronously in workers, which writes in place; else by a stream. */
  async writer(chunk: number): Promise<ChunkWriter> {
    const handle = await this.#folder.getFileHandle(String(chunk), { create: true });
    return isSync(handle) ? SyncWriter.open(handle) : StreamWriter.open(handle);
  }

  /**
   * Fills `target` with bytes of finished chunks, from `offset` in the whole file on.
   *
   * @throws SourceError where a chunk was removed meanwhile
   */
  async readInto(offset: number, target: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let at = 0; at < target.length;) {
      const chunk = Math.floor((offset + at) / BLOCK_BYTES);
      const start = offset + at - chunk * BLOCK_BYTES;
      const part = target.subarray(at, at + BLOCK_BYTES - start);
      await this.#guard(chunk, async (file) => readBlobInto(file, start, part));
      at += part.length;
    }
  }

  /** A finished chunk piece by piece; a piece is valid until the next is asked for. Throws as `readInto` does. */
  async *pieces(chunk: number): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const pieces = await this.#guard(chunk, async (file) => blobPieces(file));
    for (;;) {
      const { done, value } = await this.#guard(chunk, () => pieces.next());
      if (done) return;
      yield value;
    }
  }

  async #guard<T>(chunk: number, read: (file: File) => Promise<T>): Promise<T> {
    try {
      let file = this.#finished.get(chunk);
      if (!file) {
        file = this.#folder.getFileHandle(String(chunk)).then((handle) => handle.getFile());
        this.#finished.set(chunk, file);
      }
      return await read(await file);
    } catch (cause) {
      this.#finished.delete(chunk);
      throw new SourceError(this.#name, 'it was removed from the cache while in use', { cause });
    }
  }
}

/** What browsers give in workers only; TypeScript's DOM library leaves it out. */
export interface SyncFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<SyncAccess>;
}

interface SyncAccess {
  getSize(): number;
  write(bytes: Uint8Array<ArrayBuffer>, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

/** Whether the file can be written in place from here. */
export function isSync(handle: FileSystemFileHandle): handle is SyncFileHandle {
  return 'createSyncAccessHandle' in handle;
}

class SyncWriter implements ChunkWriter {
  readonly #access: SyncAccess;
  #at: number;

  static async open(handle: SyncFileHandle): Promise<SyncWriter> {
    return new SyncWriter(await handle.createSyncAccessHandle());
  }

  private constructor(access: SyncAccess) {
    this.#access = access;
    this.#at = access.getSize();
  }

  get at(): number {
    return this.#at;
  }

  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const written = this.#access.write(bytes, { at: this.#at });
    if (written < bytes.length) throw new DOMException('not all of it was written', 'QuotaExceededError');
    this.#at += written;
  }

  async clear(): Promise<void> {
    this.#access.truncate(0);
    this.#at = 0;
  }

  async close(): Promise<void> {
    this.#access.flush();
    this.#access.close();
  }
}

/** What it writes shows when it is closed. */
class StreamWriter implements ChunkWriter {
  readonly #stream: FileSystemWritableFileStream;
  #at: number;

  static async open(handle: FileSystemFileHandle): Promise<StreamWriter> {
    const { size } = await handle.getFile();
    return new StreamWriter(await handle.createWritable({ keepExistingData: true }), size);
  }

  private constructor(stream: FileSystemWritableFileStream, at: number) {
    this.#stream = stream;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#stream.write({ type: 'write', position: this.#at, data: bytes });
    this.#at += bytes.length;
  }

  async clear(): Promise<void> {
    await this.#stream.truncate(0);
    this.#at = 0;
  }

  async close(): Promise<void> {
    await this.#stream.close();
  }
}
