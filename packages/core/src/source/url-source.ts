import { untilAbort } from '../abort.ts';
import { SourceError } from '../errors.ts';
import { blobSource } from './blob-source.ts';
import { Exchange, Patience, type FetchOptions } from './fetch.ts';
import { fetchInto, probe, type RemoteFile } from './remote-file.ts';
import { type ByteSource, checkRange } from './source.ts';

type Access =
  { kind: 'ranges'; remote: RemoteFile & { kind: 'ranges' } } | { kind: 'whole'; source: ByteSource };

/**
 * A file on a server, read by HTTP range requests. Where the server does not know them, compresses what it sends or
 * hides the file's size, it is fetched once as a whole into a `Blob`, which browsers keep on disk when it is large.
 * A connection that breaks is taken up from the byte it reached.
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
    return access.kind === 'ranges' ? access.remote.size : access.source.size();
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const access = await this.#reach(signal);
    if (access.kind === 'whole') return access.source.read(offset, length, signal);
    checkRange(this.name, access.remote.size, offset, length);
    const bytes = new Uint8Array(length);
    await fetchInto(access.remote, offset, bytes, this.#options, signal);
    return bytes;
  }

  async readInto(offset: number, target: Uint8Array<ArrayBuffer>, signal?: AbortSignal): Promise<void> {
    const access = await this.#reach(signal);
    if (access.kind === 'whole') {
      target.set(await access.source.read(offset, target.length, signal));
      return;
    }
    checkRange(this.name, access.remote.size, offset, target.length);
    await fetchInto(access.remote, offset, target, this.#options, signal);
  }

  /** Asks the server once; those who come meanwhile share the answer. */
  async #reach(signal: AbortSignal | undefined): Promise<Access> {
    for (;;) {
      signal?.throwIfAborted();
      const isMine = this.#access === undefined;
      const access = (this.#access ??= this.#open(signal));
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

  async #open(signal: AbortSignal | undefined): Promise<Access> {
    const remote = await probe(this.name, this.#options, signal);
    if (remote.kind === 'ranges') return { kind: 'ranges', remote };
    const patience = new Patience(this.#options, signal);
    for (let exchange: Exchange | undefined = remote.first; ; exchange = undefined) {
      try {
        exchange ??= await Exchange.start(this.name, {}, this.#options, signal);
        return { kind: 'whole', source: blobSource(this.name, await exchange.blob()) };
      } catch (error) {
        await patience.after(error);
      }
    }
  }
}
