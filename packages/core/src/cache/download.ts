import { Exchange, Patience, type FetchOptions } from '../source/fetch.ts';
import { checkVersion, streamRange, type RemoteFile } from '../source/remote-file.ts';
import { BLOCK_BYTES } from '../source/source.ts';
import { isNamed, type ChunkFolder, type ChunkWriter } from './chunk-folder.ts';
import type { Gate } from './jobs.ts';

/** Bytes of one file on their way from a server into chunks. */
export interface Download {
  url: string;
  remote: RemoteFile;
  chunks: ChunkFolder;
  options: FetchOptions;
  gate: Gate;
  locks: LockManager;
  /** Name of the file's Web Lock, the same in all tabs. */
  lock: string;
  /** Makes room for so many bytes. Throws `QuotaError` where there is none. */
  makeRoom(bytes: number): Promise<void>;
  /** So many bytes of a chunk are there. */
  onChunk(chunk: number, bytes: number): void;
}

/** Bytes of a finished chunk. Of a file whose size is not known every chunk but the last is full. */
export function chunkBytes(size: number | undefined, chunk: number): number {
  return Math.min(BLOCK_BYTES, (size ?? Infinity) - chunk * BLOCK_BYTES);
}

/** Chunks that a range of a file touches. */
export function chunksOf(offset: number, length: number): number[] {
  if (length === 0) return [];
  const first = Math.floor(offset / BLOCK_BYTES);
  const last = Math.floor((offset + length - 1) / BLOCK_BYTES);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** Fetches what is missing of one chunk. Where another tab is at it, waits and takes what that one has fetched. */
export function fetchChunk(
  download: Download,
  size: number,
  chunk: number,
  signal: AbortSignal,
): Promise<void> {
  const { remote, options, gate, locks, lock, chunks } = download;
  const bytes = chunkBytes(size, chunk);
  const from = chunk * BLOCK_BYTES;
  const fetchIt = async (): Promise<void> => {
    if ((await chunks.size(chunk)) === bytes) return download.onChunk(chunk, bytes);
    const writer = await chunks.writer(chunk);
    try {
      if (writer.at > bytes) await writer.clear();
      download.onChunk(chunk, writer.at);
      const parts = streamRange(remote, from + writer.at, from + bytes, options, signal);
      for await (const part of parts) await write(download, writer, chunk, part);
    } finally {
      await writer.close();
    }
  };
  return gate.run(signal, () => locks.request(`${lock} ${chunk}`, { signal }, fetchIt));
}

/**
 * Fetches a file from a server that sends files only as a whole, and gives its size. What is there already is not
 * written again; it still has to pass.
 *
 * @param isPresent whether a chunk is finished
 */
export async function fetchWhole(
  download: Download,
  isPresent: (chunk: number) => boolean,
  signal: AbortSignal,
): Promise<number> {
  const { url, remote, options } = download;
  const patience = new Patience(options, signal);
  let first = remote.kind === 'whole' ? remote.first : undefined;
  for (let furthest = 0; ;) {
    const fill = new Fill(download, isPresent);
    try {
      const exchange = first ?? (await Exchange.start(url, {}, options, signal));
      first = undefined;
      checkVersion(url, remote.version, exchange.response);
      for await (const bytes of exchange.bytes()) {
        await fill.add(bytes);
        if (fill.at > furthest) patience.progress();
        furthest = Math.max(furthest, fill.at);
      }
      return fill.at;
    } catch (error) {
      await patience.after(error);
    } finally {
      await fill.close();
    }
  }
}

/** Deals the bytes of a file, from its start, out to chunks. */
class Fill {
  readonly #download: Download;
  readonly #isPresent: (chunk: number) => boolean;
  #writer: ChunkWriter | undefined;
  at = 0;

  constructor(download: Download, isPresent: (chunk: number) => boolean) {
    this.#download = download;
    this.#isPresent = isPresent;
  }

  async add(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let from = 0; from < bytes.length;) {
      const chunk = Math.floor(this.at / BLOCK_BYTES);
      const end = (chunk + 1) * BLOCK_BYTES;
      const part = bytes.subarray(from, from + end - this.at);
      if (!this.#isPresent(chunk)) {
        this.#writer ??= await this.#download.chunks.writer(chunk);
        const there = this.#writer.at - (this.at - chunk * BLOCK_BYTES);
        const fresh = part.subarray(Math.min(part.length, Math.max(0, there)));
        if (fresh.length > 0) await write(this.#download, this.#writer, chunk, fresh);
      }
      this.at += part.length;
      from += part.length;
      if (this.at === end) await this.close();
    }
  }

  async close(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    await writer?.close();
  }
}

async function write(
  download: Download,
  writer: ChunkWriter,
  chunk: number,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  try {
    await writer.write(bytes);
  } catch (error) {
    if (!isQuota(error)) throw error;
    await download.makeRoom(BLOCK_BYTES);
    await writer.write(bytes);
  }
  download.onChunk(chunk, writer.at);
}

/** Whether the browser refused storage. */
export function isQuota(error: unknown): boolean {
  return isNamed(error, 'QuotaExceededError');
}
