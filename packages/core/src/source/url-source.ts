import { untilAbort } from '../abort.ts';
import { SourceError } from '../errors.ts';
import { blobSource } from './blob-source.ts';
import { fetchWithRetry, type FetchOptions } from './fetch.ts';
import { type ByteSource, checkRange } from './source.ts';

/** What the first answer of a server tells: it serves ranges of `size` bytes, or it sent the whole file. */
type Access = { kind: 'ranges'; size: number } | { kind: 'whole'; source: ByteSource };

/**
 * A file on a server, read by HTTP range requests. Where the server does not know them, or hides the file's size, it is
 * fetched once as a whole into a `Blob`, which browsers keep on disk when it is large.
 * Reads throw `SourceError`, with the HTTP status where there was an answer.
 */
export function urlSource(url: string | URL, options: FetchOptions = {}): ByteSource {
  return new UrlSource(String(url), options);
}

class UrlSource implements ByteSource {
  readonly name: string;
  readonly #options: FetchOptions;
  #access: Promise<Access> | undefined;

  constructor(url: string, options: FetchOptions) {
    this.name = url;
    this.#options = options;
  }

  async size(signal?: AbortSignal): Promise<number> {
    const access = await this.#reach(signal);
    return access.kind === 'ranges' ? access.size : access.source.size();
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const access = await this.#reach(signal);
    if (access.kind === 'whole') return access.source.read(offset, length, signal);
    checkRange(this.name, access.size, offset, length);
    if (length === 0) return new Uint8Array();
    const bytes = await this.#fetchRange(offset, length, access.size, signal);
    if (bytes.length !== length) {
      throw new SourceError(this.name, `${length} bytes from ${offset} were asked for, ${bytes.length} came`);
    }
    return bytes;
  }

  async #fetchRange(
    offset: number,
    length: number,
    size: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const range = `bytes=${offset}-${offset + length - 1}`;
    return fetchWithRetry(this.name, { headers: { range }, signal }, this.#options, async (response) => {
      const { status } = response;
      const total = totalOf(response);
      if (total !== undefined && total !== size) {
        throw new SourceError(this.name, `the file changed on the server (${size} bytes, now ${total})`, {
          status,
        });
      }
      const first = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
      if (status === 206 && (first === undefined || Number(first) === offset)) {
        return new Uint8Array(await response.arrayBuffer());
      }
      await response.body?.cancel();
      throw new SourceError(this.name, 'the server stopped answering range requests', { status });
    });
  }

  /** Asks the server once; those who come meanwhile share the answer. */
  async #reach(signal: AbortSignal | undefined): Promise<Access> {
    for (;;) {
      signal?.throwIfAborted();
      const isMine = this.#access === undefined;
      const access = (this.#access ??= this.#probe(signal));
      try {
        return await (isMine ? access : untilAbort(access, signal));
      } catch (error) {
        if (isMine) this.#access = undefined;
        signal?.throwIfAborted();
        // Another caller's abort is not ours: ask again.
        if (isMine || error instanceof SourceError) throw error;
      }
    }
  }

  async #probe(signal: AbortSignal | undefined): Promise<Access> {
    const init = { headers: { range: 'bytes=0-0' }, signal };
    const access = await fetchWithRetry(
      this.name,
      init,
      this.#options,
      async (response): Promise<Access | undefined> => {
        if (response.status === 200) {
          return { kind: 'whole', source: blobSource(this.name, await response.blob()) };
        }
        // What came is one byte, or with 416 the page that says the file is empty.
        await response.body?.cancel();
        if (response.status === 416) return { kind: 'whole', source: blobSource(this.name, new Blob()) };
        const size = totalOf(response);
        return size === undefined ? undefined : { kind: 'ranges', size };
      },
    );
    return access ?? this.#fetchWhole(signal);
  }

  /** For servers that do not let this origin see `Content-Range`. */
  async #fetchWhole(signal: AbortSignal | undefined): Promise<Access> {
    const blob = await fetchWithRetry(this.name, { signal }, this.#options, (response) => response.blob());
    return { kind: 'whole', source: blobSource(this.name, blob) };
  }
}

/** Size of the whole file as a partial answer states it. */
function totalOf(response: Response): number | undefined {
  const total = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1];
  return total === undefined ? undefined : Number(total);
}
