import { SourceError } from '../errors.ts';
import { type ByteSource, checkRange } from './source.ts';

/** A `Blob` or `File`: only what is read is brought into memory. */
export function blobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    size: async () => blob.size,
    async read(offset, length, signal) {
      signal?.throwIfAborted();
      checkRange(name, blob.size, offset, length);
      let buffer: ArrayBuffer;
      try {
        buffer = await blob.slice(offset, offset + length).arrayBuffer();
      } catch (cause) {
        // A File whose file on disk was changed or removed since it was picked.
        throw new SourceError(name, 'the file cannot be read any more', { cause });
      }
      signal?.throwIfAborted();
      return new Uint8Array(buffer);
    },
  };
}
