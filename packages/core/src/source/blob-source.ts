import { SourceError } from '../errors.ts';
import { readBlobInto } from './pieces.ts';
import { type ByteSource, checkRange } from './source.ts';

/** A `Blob` or `File`: only what is read is brought into memory. */
export function blobSource(name: string, blob: Blob): ByteSource {
  // A File whose file on disk was changed or removed since it was picked.
  const gone = (cause: unknown): SourceError =>
    new SourceError(name, 'the file cannot be read any more', { cause });
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
        throw gone(cause);
      }
      signal?.throwIfAborted();
      return new Uint8Array(buffer);
    },
    async readInto(offset, target, signal) {
      signal?.throwIfAborted();
      checkRange(name, blob.size, offset, target.length);
      try {
        await readBlobInto(blob, offset, target);
      } catch (cause) {
        throw gone(cause);
      }
      signal?.throwIfAborted();
    },
  };
}
