/** Bytes of memory that a stream is read through. */
const WINDOW_BYTES = 256 * 2 ** 10;

/**
 * The bytes of a stream as they come. Where the stream allows it they are read through one stretch of memory that is used
 * again and again, so that gigabytes pass without leaving anything to collect: a piece is valid until the next is asked
 * for.
 *
 * @param guard what every read goes through, to translate its errors
 */
export async function* piecesOf(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  guard: <T>(reading: Promise<T>) => Promise<T> = (reading) => reading,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const bytes = byteReader(stream);
  const any = bytes ? undefined : stream.getReader();
  let window = new ArrayBuffer(bytes ? WINDOW_BYTES : 0);
  try {
    for (;;) {
      const { done, value } = await guard(bytes ? bytes.read(new Uint8Array(window)) : any!.read());
      if (done) return;
      yield value;
      window = value.buffer;
    }
  } finally {
    (bytes ?? any)!.cancel().catch(() => {});
  }
}

function byteReader(stream: ReadableStream): ReadableStreamBYOBReader | undefined {
  try {
    return stream.getReader({ mode: 'byob' });
  } catch {
    // Not a stream of bytes, in this browser or of this `fetch`.
    return undefined;
  }
}

/** Fills `target` with the bytes of a blob from `offset` on. Throws what reading the blob throws. */
export async function readBlobInto(
  blob: Blob,
  offset: number,
  target: Uint8Array<ArrayBuffer>,
): Promise<void> {
  let at = 0;
  for await (const piece of piecesOf(blob.slice(offset, offset + target.length).stream())) {
    target.set(piece, at);
    at += piece.length;
  }
  if (at < target.length) throw new RangeError(`${at} of ${target.length} bytes came`);
}
