import { SourceError } from '../errors.ts';
import { BLOCK_BYTES } from '../source/source.ts';

/** How often, and after how many milliseconds, to ask again for a file that another page still has open. */
const RELEASE_TRIES = 50;
const RELEASE_MS = 20;

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

  constructor(folder: FileSystemDirectoryHandle, name: string) {
    this.#folder = folder;
    this.#name = name;
  }

  /** Bytes of every chunk that was begun. */
  async sizes(): Promise<Map<number, number>> {
    const sizes = new Map<number, number>();
    for await (const [name, handle] of this.#folder.entries()) {
      // Chromium keeps what a stream writes in a file beside the chunk, `7.crswap`, until the stream is closed.
      if (handle.kind !== 'file' || !/^\d+$/.test(name)) continue;
      try {
        sizes.set(Number(name), (await handle.getFile()).size);
      } catch (error) {
        // Another tab removed it after it was listed.
        if (!isNamed(error, 'NotFoundError')) throw error;
      }
    }
    return sizes;
  }

  /** Bytes that are there of a chunk. */
  async size(chunk: number): Promise<number> {
    const handle = await this.#folder.getFileHandle(String(chunk), { create: true });
    return (await handle.getFile()).size;
  }

  /**
   * Opens a chunk for appending: synchronously in workers, which writes in place; else by a stream. Not one that is
   * finished: it may be open for reading elsewhere, which excludes writers.
   */
  async writer(chunk: number): Promise<ChunkWriter> {
    const handle = await this.#folder.getFileHandle(String(chunk), { create: true });
    for (let left = RELEASE_TRIES; ; left--) {
      try {
        return await (isSync(handle) ? SyncWriter.open(handle) : StreamWriter.open(handle));
      } catch (error) {
        // A page that was closed amid a download lets go of its lock a little sooner than of its files.
        if (left === 0 || !isNamed(error, 'NoModificationAllowedError')) throw error;
        await new Promise((resolve) => setTimeout(resolve, RELEASE_MS));
      }
    }
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
      try {
        await this.#readChunk(chunk, start, part);
      } catch (cause) {
        throw new SourceError(this.#name, 'it was removed from the cache while in use', { cause });
      }
      at += part.length;
    }
  }

  async #readChunk(chunk: number, start: number, target: Uint8Array<ArrayBuffer>): Promise<void> {
    const handle = await this.#folder.getFileHandle(String(chunk));
    // Straight into `target`: a blob's bytes come in memory of their own, and its streams do not always come to an end
    // when read through the caller's (Chromium 156).
    const access = isSync(handle) ? await openForReading(handle) : undefined;
    if (access) {
      try {
        if (access.read(target, { at: start }) === target.length) return;
      } finally {
        access.close();
      }
    } else {
      const blob = (await handle.getFile()).slice(start, start + target.length);
      if (blob.size === target.length) return target.set(new Uint8Array(await blob.arrayBuffer()));
    }
    throw new RangeError(`chunk ${chunk} is shorter than ${start + target.length} bytes`);
  }
}

/** Undefined where somebody else has it open, and the browser allows only one. */
async function openForReading(handle: SyncFileHandle): Promise<SyncAccess | undefined> {
  try {
    return await handle.createSyncAccessHandle({ mode: 'read-only' });
  } catch (error) {
    if (isNamed(error, 'NoModificationAllowedError')) return undefined;
    throw error;
  }
}

/** Whether it is the browser's exception of that name. */
export function isNamed(error: unknown, name: string): boolean {
  return error instanceof DOMException && error.name === name;
}

/** What browsers give in workers only; TypeScript's DOM library leaves it out. */
export interface SyncFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(options?: { mode: 'read-only' }): Promise<SyncAccess>;
}

interface SyncAccess {
  getSize(): number;
  read(target: Uint8Array<ArrayBuffer>, options: { at: number }): number;
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
