import { SourceError } from '../errors.ts';
import type { Model } from '../onnx/model.ts';
import type { ReadModelOptions } from '../onnx/reader.ts';

/**
 * Where files are cut: the cache keeps such pieces, and whoever reads much reads along them. Small enough to be fetched
 * side by side and to be copied; large enough that a gigabyte is not hundreds of requests.
 */
export const BLOCK_BYTES: number = 8 * 2 ** 20;

/** Random access to the bytes of one file. */
export interface ByteSource {
  /** What errors call it: a path or a URL. */
  readonly name: string;
  /** Size of the file in bytes. Throws `SourceError` when it cannot be learned. */
  size(signal?: AbortSignal): Promise<number>;
  /**
   * Exactly `length` bytes from `offset` on. They may be a view of memory that the source keeps: do not write to
   * them. Throws `SourceError` for a range beyond the file or a failed transfer, and the signal's reason on abort.
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Fills `target` with the bytes from `offset` on; throws as `read` does. Sources have it that would otherwise make new
   * memory for every read. After a failure they do not write to `target` any more.
   */
  readInto?(offset: number, target: Uint8Array<ArrayBuffer>, signal?: AbortSignal): Promise<void>;
  /**
   * Only sources that can make their bytes on the GPU have it: puts `length` bytes from `offset` on at the start of
   * `buffer`, a storage buffer, with work submitted before it returns.
   */
  writeTo?(device: GPUDevice, buffer: GPUBuffer, offset: number, length: number): void;
}

/** The files of a model by relative path ('unet/model.onnx', 'weights.pb', …). */
export interface FileStore {
  /** Throws `SourceError` for a file that is absent or a path that `normalizePath` refuses. */
  open(path: string): Promise<ByteSource>;
  /** Throws only where the answer cannot be learned (no network, a refused path). */
  has(path: string): Promise<boolean>;
  /** Only stores whose files are read in another thread have it: reads an ONNX file there. Throws as `readModel` does. */
  readModel?(path: string, options?: ReadModelOptions): Promise<Model>;
}

/** Throws `SourceError` unless `offset` and `length` lie inside a file of `size` bytes. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  const sane = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!sane || offset + length > size) {
    throw new SourceError(name, `${length} bytes from ${offset} lie outside the file's ${size} bytes`);
  }
}
