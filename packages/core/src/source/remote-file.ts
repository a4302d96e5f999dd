import { FileChangedError, SourceError } from '../errors.ts';
import { Exchange, Patience, type FetchOptions } from './fetch.ts';

/** What tells one content of a file from another, as far as the server lets the page see it. */
export interface FileVersion {
  size: number | undefined;
  etag: string | undefined;
  lastModified: string | undefined;
}

/** What the first answer of a server tells of a file. */
export type RemoteFile = {
  url: string;
  version: FileVersion;
  /** SHA-256 of the contents in hexadecimal, where an ETag is one (as those of Git LFS hosts are). */
  sha256: string | undefined;
} & (
  | { kind: 'ranges'; size: number }
  /** The file comes as a whole only: `first` is that answer, to be read or cancelled. */
  | { kind: 'whole'; first: Exchange; why: string }
);

/**
 * Asks for the first byte to learn how a file can be fetched.
 *
 * @throws SourceError, the signal's reason
 */
export async function probe(
  url: string,
  options: FetchOptions,
  signal: AbortSignal | undefined,
): Promise<RemoteFile> {
  const patience = new Patience(options, signal);
  for (;;) {
    try {
      return await probeOnce(url, options, signal);
    } catch (error) {
      await patience.after(error);
    }
  }
}

async function probeOnce(
  url: string,
  options: FetchOptions,
  signal: AbortSignal | undefined,
): Promise<RemoteFile> {
  const exchange = await Exchange.start(url, { range: 'bytes=0-0' }, options, signal);
  const { response } = exchange;
  if (response.ok && isPage(response)) {
    await exchange.cancel();
    throw new SourceError(url, 'there is no such file: the server answered with a web page', { status: 404 });
  }
  const version = versionOf(response);
  const common = { url, version, sha256: digestOf(response) };
  if (response.status === 200) {
    return { ...common, kind: 'whole', first: exchange, why: 'the server ignores range requests' };
  }
  // What came is one byte, or with 416 a page.
  await exchange.cancel();
  if (response.status === 416) {
    if (version.size)
      throw new SourceError(url, 'the server refuses to send the first byte', { status: 416 });
    return { ...common, kind: 'ranges', version: { ...version, size: 0 }, size: 0 };
  }
  const isEncoded = !isIdentity(response);
  if (version.size !== undefined && !isEncoded) return { ...common, kind: 'ranges', size: version.size };
  const first = await Exchange.start(url, {}, options, signal);
  const why = isEncoded
    ? 'the server compresses what it sends'
    : 'the server hides the Content-Range header from this page (CORS: Access-Control-Expose-Headers)';
  return { ...common, kind: 'whole', version: { ...version, size: undefined }, first, why };
}

/**
 * Bytes from `from` up to `to` as they come. A connection that breaks is taken up again from the byte that was reached.
 * A piece is valid until the next is asked for.
 *
 * @throws SourceError, FileChangedError, the signal's reason
 */
export async function* streamRange(
  { url, version }: RemoteFile,
  from: number,
  to: number,
  options: FetchOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const patience = new Patience(options, signal);
  let at = from;
  while (at < to) {
    try {
      const exchange = await Exchange.start(url, rangeHeaders(url, version, at, to), options, signal);
      await checkRangeAnswer(url, version, exchange, at);
      for await (const bytes of exchange.bytes()) {
        if (at + bytes.length > to) {
          throw new SourceError(
            url,
            `more bytes came than the ${to - from} from ${from} that were asked for`,
          );
        }
        if (bytes.length === 0) continue;
        at += bytes.length;
        patience.progress();
        yield bytes;
      }
      if (at < to) {
        throw new SourceError(url, `the answer ended at byte ${at}, before ${to}`, { retryable: true });
      }
    } catch (error) {
      await patience.after(error);
    }
  }
}

/** Fills `target` with the bytes from `offset` on. Throws as `streamRange` does. */
export async function fetchInto(
  remote: RemoteFile,
  offset: number,
  target: Uint8Array<ArrayBuffer>,
  options: FetchOptions,
  signal: AbortSignal | undefined,
): Promise<void> {
  let at = 0;
  for await (const piece of streamRange(remote, offset, offset + target.length, options, signal)) {
    target.set(piece, at);
    at += piece.length;
  }
}

function rangeHeaders(url: string, version: FileVersion, at: number, to: number): Record<string, string> {
  const range = { range: `bytes=${at}-${to - 1}` };
  // Elsewhere it would need a preflight that model hosts do not answer; there answers are compared instead.
  const isSameOrigin = new URL(url).origin === globalThis.location?.origin;
  const validator = version.etag?.startsWith('"') ? version.etag : version.lastModified;
  return isSameOrigin && validator !== undefined ? { ...range, 'if-range': validator } : range;
}

async function checkRangeAnswer(
  url: string,
  version: FileVersion,
  exchange: Exchange,
  at: number,
): Promise<void> {
  const { response } = exchange;
  const { status } = response;
  try {
    checkVersion(url, version, response);
    const first = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
    if (status !== 206 || (first !== undefined && Number(first) !== at)) {
      throw new SourceError(url, 'the server stopped answering range requests', { status });
    }
    if (!isIdentity(response)) throw new SourceError(url, 'the server compresses parts of files', { status });
  } catch (error) {
    await exchange.cancel();
    throw error;
  }
}

/** @throws FileChangedError where the answer is about other contents */
export function checkVersion(url: string, version: FileVersion, response: Response): void {
  const now = versionOf(response);
  if (isSameVersion(version, now)) return;
  throw new FileChangedError(url, describe(version), describe(now), response.status);
}

/** Whether nothing speaks against two answers being about the same contents. */
export function isSameVersion(a: FileVersion, b: FileVersion): boolean {
  if (a.size !== undefined && b.size !== undefined && a.size !== b.size) return false;
  if (a.etag !== undefined && b.etag !== undefined) return weak(a.etag) === weak(b.etag);
  if (a.lastModified !== undefined && b.lastModified !== undefined) return a.lastModified === b.lastModified;
  return true;
}

/** Whether a change of contents that keeps the size would show. */
export function hasValidator({ etag, lastModified }: FileVersion): boolean {
  return etag !== undefined || lastModified !== undefined;
}

function versionOf({ headers }: Response): FileVersion {
  const total = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
  return {
    size: total === undefined ? undefined : Number(total),
    etag: headers.get('etag') ?? undefined,
    lastModified: headers.get('last-modified') ?? undefined,
  };
}

function describe({ size, etag, lastModified }: FileVersion): string {
  return (
    [size === undefined ? [] : `${size} bytes`, etag ?? lastModified ?? []].flat().join(', ') || 'unknown'
  );
}

/** `X-Linked-ETag` is how the Hugging Face Hub names a file's own digest; other Git LFS hosts send it as the ETag. */
function digestOf({ headers }: Response): string | undefined {
  const etag = headers.get('x-linked-etag') ?? headers.get('etag') ?? '';
  return /^"?([0-9a-f]{64})"?$/i.exec(weak(etag))?.[1]?.toLowerCase();
}

function weak(etag: string): string {
  return etag.replace(/^W\//, '');
}

/** Hosts of single-page applications, Vite's among them, give the application's page for every path they do not know. */
function isPage({ headers }: Response): boolean {
  return /^text\/html\b/i.test(headers.get('content-type') ?? '');
}

function isIdentity({ headers }: Response): boolean {
  return /^(identity)?$/i.test(headers.get('content-encoding') ?? '');
}
