// A model host as `fetch` shows it, that misbehaves on demand.

export interface FakeHost {
  fetch: typeof fetch;
  /** Every request: `path range`. */
  readonly requests: string[];
  /** Body bytes sent so far. */
  sent: number;
  files: Record<string, Uint8Array<ArrayBuffer>>;
  etag: ((path: string) => string) | undefined;
  lastModified: string | undefined;
  /** `hidden` leaves out Content-Range, as an unwilling CORS set-up does. */
  ranges: boolean | 'hidden';
  encoding: string | undefined;
  /** Whether nothing answers. */
  isDown: boolean;
  /** After how many body bytes of the next answer with a body above 1 byte the connection breaks, if at all. */
  drop: (() => number | undefined) | undefined;
  /** Bytes that end the body early while the connection closes as if all was sent. */
  truncateTo: number | undefined;
}

const PART_BYTES = 2 ** 20;

export function fakeHost(files: Record<string, Uint8Array<ArrayBuffer>>): FakeHost {
  const host: FakeHost = {
    files,
    requests: [],
    sent: 0,
    etag: () => '"one"',
    lastModified: undefined,
    ranges: true,
    encoding: undefined,
    isDown: false,
    drop: undefined,
    truncateTo: undefined,
    fetch: (async (input: string, init?: RequestInit) => {
      init?.signal?.throwIfAborted();
      const path = new URL(input).pathname.slice(1);
      const range = new Headers(init?.headers).get('range');
      host.requests.push(`${path} ${range ?? 'whole'}`);
      if (host.isDown) throw new TypeError('Failed to fetch');
      const file = host.files[path];
      if (!file) return new Response('none', { status: 404 });
      const headers = new Headers();
      if (host.etag) headers.set('etag', host.etag(path));
      if (host.lastModified) headers.set('last-modified', host.lastModified);
      if (host.encoding) headers.set('content-encoding', host.encoding);
      const parts = /^bytes=(\d+)-(\d+)$/.exec(range ?? '');
      if (!parts || host.ranges === false) return answer(host, file, { status: 200, headers }, init?.signal);
      const [from, to] = [Number(parts[1]), Math.min(Number(parts[2]), file.length - 1)];
      if (from >= file.length) return new Response(null, { status: 416, headers });
      if (host.ranges === true) headers.set('content-range', `bytes ${from}-${to}/${file.length}`);
      return answer(host, file.subarray(from, to + 1), { status: 206, headers }, init?.signal);
    }) as typeof fetch,
  };
  return host;
}

function answer(
  host: FakeHost,
  body: Uint8Array<ArrayBuffer>,
  init: ResponseInit,
  signal: AbortSignal | null | undefined,
): Response {
  const drop = body.length > 1 ? host.drop?.() : undefined;
  const end = Math.min(body.length > 1 ? (host.truncateTo ?? Infinity) : Infinity, body.length);
  let at = 0;
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve));
      if (signal?.aborted) return controller.error(signal.reason);
      const part = body.slice(at, Math.min(end, at + PART_BYTES, drop ?? Infinity));
      if (part.length > 0) controller.enqueue(part);
      host.sent += part.length;
      at += part.length;
      if (at === drop) controller.error(new TypeError('network error'));
      else if (at >= end) controller.close();
    },
  });
  return new Response(stream, init);
}
