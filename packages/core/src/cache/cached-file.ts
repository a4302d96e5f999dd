import { untilAbort } from '../abort.ts';
import { DigestError, FileChangedError, QuotaError, SourceError } from '../errors.ts';
import type { FetchOptions } from '../source/fetch.ts';
import { fetchInto, hasValidator, isSameVersion, probe, type RemoteFile } from '../source/remote-file.ts';
import { BLOCK_BYTES, type ByteSource, checkRange } from '../source/source.ts';
import type { ChunkFolder } from './chunk-folder.ts';
import { chunkBytes, chunksOf, type Download, fetchChunk, fetchWhole, isQuota } from './download.ts';
import type { CacheEntry, EntryNote } from './entry.ts';
import { type Gate, SharedJobs } from './jobs.ts';
import { Verifier } from './verifier.ts';

/**
 * A read of up to this size that would have to bring more than this is answered by the server alone: fetching a whole
 * chunk for each piece of a model's structure would download the model in order to plan it.
 */
const DIRECT_BYTES = 2 * 2 ** 20;

/**
 * Not so in files of up to this size, unless the caller wants it `sparse`. Structure with weights between its pieces takes
 * a request for each piece, one after the other, and what is read ahead comes twice: 76 requests and 6.2 MB for a UNet of
 * 13.7 MB.
 */
const SMALL_BYTES = 4 * BLOCK_BYTES;

/** Whether a server still has what the cache has must not take longer than this to learn. */
const REVALIDATE_MS = 5_000;

/** What a cached file needs of those around it. */
export interface CachedFileHost {
  options: FetchOptions;
  /** Requests under way at once. */
  gate: Gate;
  locks: LockManager;
  /** Whether the network is known to be gone, so that not every file finds out for itself. */
  offline: boolean;
  /** Whether to ask the server if what the cache has is still what it has. */
  revalidate: boolean;
  /** Whether small files are read like large ones: without bringing chunks for a few bytes. */
  sparse: boolean;
  /** The entry of that path; made where it is not there. */
  entry(path: string): Promise<CacheEntry>;
  /** Makes room by evicting other models. Throws `QuotaError` where there is none. */
  makeRoom(file: string, bytes: number): Promise<void>;
  /** The report of a file changed. */
  onBytes(path: string): void;
}

/** How a file came. */
export interface FileReport {
  path: string;
  url: string;
  /** Bytes of the file; `undefined` where the server does not tell before its end. */
  bytes: number | undefined;
  /** Bytes that were in the cache before. */
  cachedBytes: number;
  /** Bytes that are there by now. */
  loadedBytes: number;
  /** Digest that it was checked against. */
  sha256: string | undefined;
  /** What could be better: no ranges, no validator, no network. */
  notes: string[];
}

/** A file as the cache and the server have it. */
interface Opened {
  entry: CacheEntry;
  note: EntryNote;
  chunks: ChunkFolder;
  /** Undefined without network, and where the digest says that it is not needed. */
  remote: RemoteFile | undefined;
  /** Bytes by chunk. */
  there: Map<number, number>;
  /** Finished chunks. */
  present: Set<number>;
  verifier: Verifier | undefined;
  /** Digest that it must have, as far as known. */
  expected: string | undefined;
  completing: Promise<void> | undefined;
  dropping: Promise<void> | undefined;
}

/** A file on a server that is kept in the cache: read from there, and brought there by what is read. */
export class CachedFile implements ByteSource {
  readonly name: string;
  readonly path: string;
  readonly report: FileReport;
  readonly #host: CachedFileHost;
  readonly #lock: string;
  readonly #digest: string | undefined;
  readonly #jobs = new SharedJobs<number | 'open' | 'whole'>();
  readonly #transfers = new Set<Promise<void>>();
  #opened: Opened | undefined;

  /**
   * @param lock name of the Web Lock of this file, the same in all tabs
   * @param digest SHA-256 in hexadecimal, where the caller knows it
   */
  constructor(url: string, path: string, lock: string, digest: string | undefined, host: CachedFileHost) {
    this.name = url;
    this.path = path;
    this.#lock = lock;
    this.#digest = digest?.toLowerCase();
    this.#host = host;
    this.report = {
      path,
      url,
      bytes: undefined,
      cachedBytes: 0,
      loadedBytes: 0,
      sha256: undefined,
      notes: [],
    };
  }

  /** Throws only where the answer cannot be learned. */
  async exists(signal?: AbortSignal): Promise<boolean> {
    try {
      await this.#open(signal);
      return true;
    } catch (error) {
      if (error instanceof SourceError && isGone(error)) return false;
      throw error;
    }
  }

  async size(signal?: AbortSignal): Promise<number> {
    const opened = await this.#open(signal);
    if (opened.note.size === undefined) await this.#ensure(opened, 0, signal);
    return opened.note.size!;
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    checkRange(this.name, await this.size(signal), offset, length);
    const bytes = new Uint8Array(length);
    await this.readInto(offset, bytes, signal);
    return bytes;
  }

  async readInto(offset: number, target: Uint8Array<ArrayBuffer>, signal?: AbortSignal): Promise<void> {
    const { length } = target;
    checkRange(this.name, await this.size(signal), offset, length);
    const opened = await this.#open(signal);
    const wanted = chunksOf(offset, length);
    const { remote, note } = opened;
    const isSparse = this.#host.sparse || note.size! > SMALL_BYTES;
    const mayBeDirect = isSparse && length <= DIRECT_BYTES;
    if (mayBeDirect && remote?.kind === 'ranges' && this.#absentBytes(opened, wanted) > DIRECT_BYTES) {
      await fetchInto(remote, offset, target, this.#host.options, signal);
    } else {
      await this.#ensureAll(opened, wanted, signal);
      await opened.chunks.readInto(offset, target);
    }
  }

  /** Whether something of it is kept, or on its way. */
  get isBegun(): boolean {
    return this.report.loadedBytes > 0;
  }

  /** Brings what is missing of the file, and checks its digest where one is known. */
  async finish(signal?: AbortSignal): Promise<void> {
    const size = await this.size(signal);
    await this.#ensureAll(await this.#open(signal), chunksOf(0, size), signal);
  }

  /** Bytes of chunks that are neither there nor on their way. */
  #absentBytes({ note, present }: Opened, chunks: readonly number[]): number {
    const absent = chunks.filter((chunk) => !present.has(chunk) && !this.#jobs.has(chunk));
    return absent.reduce((sum, chunk) => sum + chunkBytes(note.size, chunk), 0);
  }

  async #open(signal: AbortSignal | undefined): Promise<Opened> {
    while (!this.#opened) {
      await this.#jobs.join('open', signal, async (shared) => {
        this.#opened = await this.#openEntry(shared);
      });
    }
    return this.#opened;
  }

  async #openEntry(signal: AbortSignal): Promise<Opened> {
    this.report.notes.length = 0;
    const entry = await this.#host.entry(this.path);
    const remote = await this.#ask(entry, signal);
    return this.#host.locks.request(this.#lock, { signal }, async () => {
      // Read only now: another tab may have begun it meanwhile.
      let note = await entry.note();
      if (!remote && !note?.complete) {
        throw new SourceError(this.name, 'it was removed from the cache while in use', { retryable: true });
      }
      if (!note || (remote && !this.#isUsable(note, remote))) {
        const { size, etag, lastModified } = remote!.version;
        note = await entry.begin({ path: this.path, size, etag, lastModified, absent: false });
      }
      const opened = await this.#openChunks(entry, note, remote);
      const missing = (note.size ?? Infinity) - this.report.cachedBytes;
      if (remote?.kind === 'whole' && missing === 0) await remote.first.cancel();
      if (missing > 0 && missing < Infinity) await this.#host.makeRoom(this.name, missing);
      return opened;
    });
  }

  /** What the server says; `undefined` where the cache can do without. */
  async #ask(entry: CacheEntry, signal: AbortSignal): Promise<RemoteFile | undefined> {
    const host = this.#host;
    const note = await entry.note();
    const isKnown = note !== undefined && (note.complete || note.absent);
    if (note?.complete) {
      if (this.#digest === undefined ? !host.revalidate : this.#digest === note.sha256) return undefined;
    }
    const goWithout = (cause?: unknown): undefined => {
      if (note!.absent)
        throw new SourceError(this.name, 'the server had no such file', { status: 404, cause });
      this.report.notes.push('the server cannot be reached: what the cache has is used unasked');
    };
    if (isKnown && (host.offline || Object.is(globalThis.navigator?.onLine, false))) return goWithout();
    const { options } = host;
    const quick = { ...options, retries: 0, stallMs: Math.min(options.stallMs ?? Infinity, REVALIDATE_MS) };
    try {
      return await host.gate.run(signal, () => probe(this.name, isKnown ? quick : options, signal));
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof SourceError)) throw error;
      if (isGone(error)) await entry.begin({ path: this.path, ...nothing, absent: true });
      if (!isKnown || !error.retryable) throw error;
      host.offline = true;
      return goWithout(error);
    }
  }

  /** Whether what the cache has is what the server has, as far as can be told. */
  #isUsable(note: EntryNote, remote: RemoteFile): boolean {
    if (note.absent) return false;
    const expected = this.#digest ?? remote.sha256;
    if (expected !== undefined && note.sha256 !== undefined && expected !== note.sha256) return false;
    if (!isSameVersion(note, remote.version)) return false;
    if (hasValidator(note) && hasValidator(remote.version)) return true;
    // Without ETag and date only the size speaks for it: enough where a digest is checked, or for what was whole.
    const isSameSize = note.size !== undefined && note.size === remote.version.size;
    return isSameSize && (note.complete || expected !== undefined);
  }

  async #openChunks(entry: CacheEntry, note: EntryNote, remote: RemoteFile | undefined): Promise<Opened> {
    const { report } = this;
    const chunks = await entry.chunks(note);
    const there = await chunks.sizes();
    const present = new Set([...there.keys()].filter((i) => there.get(i) === chunkBytes(note.size, i)));
    if (remote?.kind === 'whole') report.notes.push(`${remote.why}: it is fetched as a whole`);
    if (remote && !hasValidator(remote.version)) {
      report.notes.push(
        'the server shows neither ETag nor Last-Modified: a change that keeps the size goes unnoticed',
      );
    }
    report.bytes = note.size;
    report.cachedBytes = [...there.values()].reduce((sum, bytes) => sum + bytes, 0);
    report.loadedBytes = report.cachedBytes;
    report.sha256 = note.sha256;
    const expected = this.#digest ?? remote?.sha256 ?? note.sha256;
    const count = note.size === undefined ? undefined : Math.ceil(note.size / BLOCK_BYTES);
    const isWhole = note.complete && present.size === count && expected === note.sha256;
    const completing = isWhole ? Promise.resolve() : undefined;
    const state = { verifier: undefined, dropping: undefined, completing };
    const opened: Opened = { entry, note, chunks, remote, there, present, expected, ...state };
    if (!isWhole && note.size !== undefined) this.#beginVerifying(opened);
    this.#host.onBytes(this.path);
    return opened;
  }

  #beginVerifying(opened: Opened): void {
    const { chunks, expected, note } = opened;
    if (expected === undefined) return;
    opened.verifier = new Verifier(note.size!, (offset, target) => chunks.readInto(offset, target));
    for (const chunk of opened.present) opened.verifier.add(chunk);
  }

  /** Brings chunks into the cache. With the last of all, checks the file and notes that it is whole. */
  async #ensureAll(
    opened: Opened,
    wanted: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    // Where one fails, the others are not to go on for nobody.
    const failed = new AbortController();
    const either = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
    try {
      await Promise.all(wanted.map((chunk) => this.#ensure(opened, chunk, either)));
    } catch (error) {
      failed.abort(error);
      throw error;
    }
    const count = Math.ceil(opened.note.size! / BLOCK_BYTES);
    if (opened.present.size < count) return;
    opened.completing ??= this.#seal(opened);
    await untilAbort(opened.completing, signal);
  }

  async #ensure(opened: Opened, chunk: number, signal: AbortSignal | undefined): Promise<void> {
    if (opened.present.has(chunk)) return;
    const { remote } = opened;
    if (!remote) throw new SourceError(this.name, 'the cache lacks a part of it, and there is no network');
    await this.#jobs.join(remote.kind === 'whole' ? 'whole' : chunk, signal, async (shared) => {
      const download = this.#download(opened, remote);
      const transfer =
        remote.kind === 'whole'
          ? this.#fetchWhole(opened, download, shared)
          : this.#fetchChunk(opened, download, chunk, shared);
      this.#transfers.add(transfer);
      try {
        await transfer;
      } catch (cause) {
        const error = isQuota(cause) ? new QuotaError(this.name, BLOCK_BYTES, undefined, cause) : cause;
        this.#transfers.delete(transfer);
        if (error instanceof QuotaError || error instanceof FileChangedError) await this.#drop(opened, error);
        throw error;
      } finally {
        this.#transfers.delete(transfer);
      }
    });
  }

  #download({ chunks, there }: Opened, remote: RemoteFile): Download {
    const { options, gate, locks } = this.#host;
    return {
      url: this.name,
      remote,
      chunks,
      options,
      gate,
      locks,
      lock: this.#lock,
      makeRoom: (bytes) => this.#host.makeRoom(this.name, bytes),
      onChunk: (chunk, bytes) => {
        this.report.loadedBytes += bytes - (there.get(chunk) ?? 0);
        there.set(chunk, bytes);
        this.#host.onBytes(this.path);
      },
    };
  }

  async #fetchChunk(opened: Opened, download: Download, chunk: number, signal: AbortSignal): Promise<void> {
    await fetchChunk(download, opened.note.size!, chunk, signal);
    opened.present.add(chunk);
    opened.verifier?.add(chunk);
  }

  async #fetchWhole(opened: Opened, download: Download, signal: AbortSignal): Promise<void> {
    const { entry, chunks, there, present } = opened;
    await this.#host.locks.request(`${this.#lock} whole`, { signal }, async () => {
      const now = await entry.note();
      const isDoneByAnother = now?.generation === opened.note.generation && now.size !== undefined;
      const size = isDoneByAnother
        ? now.size!
        : await fetchWhole(
            download,
            (chunk) => present.has(chunk) || there.get(chunk) === BLOCK_BYTES,
            signal,
          );
      opened.note = { ...opened.note, size };
      await this.#writeNote(opened);
    });
    for (const [chunk, bytes] of await chunks.sizes()) {
      there.set(chunk, bytes);
      if (bytes === chunkBytes(opened.note.size, chunk)) present.add(chunk);
    }
    this.report.bytes = opened.note.size;
  }

  async #seal(opened: Opened): Promise<void> {
    const { expected } = opened;
    if (expected !== undefined) {
      if (!opened.verifier) this.#beginVerifying(opened);
      const actual = await opened.verifier!.digest();
      if (actual !== expected) {
        const error = new DigestError(this.name, expected, actual);
        await this.#drop(opened, error);
        throw error;
      }
    }
    opened.note = { ...opened.note, complete: true, sha256: expected };
    this.report.sha256 = expected;
    await this.#writeNote(opened);
  }

  /** Not over the note of other contents, which another tab may have begun meanwhile. */
  async #writeNote({ entry, note }: Opened): Promise<void> {
    await this.#host.locks.request(this.#lock, async () => {
      if ((await entry.note())?.generation === note.generation) await entry.write(note);
    });
  }

  /** Removes what is there of the file; whoever waits for it hears `reason`, and the next read begins anew. */
  #drop(opened: Opened, reason: unknown): Promise<void> {
    opened.dropping ??= this.#dropOnce(opened, reason);
    return opened.dropping;
  }

  async #dropOnce(opened: Opened, reason: unknown): Promise<void> {
    if (this.#opened === opened) this.#opened = undefined;
    this.#jobs.abort(reason);
    await Promise.allSettled(this.#transfers);
    await this.#host.locks.request(this.#lock, async () => {
      const note = await opened.entry.note();
      if (note?.generation === opened.note.generation) await opened.entry.remove();
    });
  }
}

const nothing = { size: undefined, etag: undefined, lastModified: undefined };

function isGone({ status }: SourceError): boolean {
  return status === 404 || status === 410;
}
