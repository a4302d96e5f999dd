/** Bytes of memory that a blob is read through. */
const WINDOW_BYTES = 256 * 2 ** 10;

async function* piecesOf(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * The bytes of a blob. Where the browser can, they are read through one stretch of memory that is used again and again,
 * so that gigabytes pass without leaving anything to collect: a piece is valid until the next is asked for. (Not so what
 * comes over the network: Chromium 156 never ends such a read when the connection breaks.)
 */
export async function* blobPieces(blob: Blob): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const stream = blob.stream();
  let reader: ReadableStreamBYOBReader;
  try {
    reader = stream.getReader({ mode: 'byob' });
  } catch {
    yield* piecesOf(stream);
    return;
  }
  try {
    for (let window = new ArrayBuffer(WINDOW_BYTES); ;) {
      const { done, value } = await reader.read(new Uint8Array(window));
      if (done) return;
      yield value;
      window = value.buffer;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Fills `target` with the bytes of a blob from `offset` on. Throws what reading the blob throws. */
export async function readBlobInto(
  blob: Blob,
  offset: number,
  target: Uint8Array<ArrayBuffer>,
): Promise<void> {
  let at = 0;
  for await (const piece of blobPieces(blob.slice(offset, offset + target.length))) {
    target.set(piece, at);
    at += piece.length;
  }
  if (at < target.length) throw new RangeError(`${at} of ${target.length} bytes came`);
}
