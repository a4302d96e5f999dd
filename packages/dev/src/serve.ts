import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize, sep } from 'node:path';

/** URL prefixes (`/`, `/model/`) and the folders they show. The longest matching prefix wins. */
export type Mounts = Record<string, string>;

/** What goes wrong with one request: the connection ends after some body bytes, an error status, or a wait. */
export type Fault =
  | { kind: 'drop'; afterBytes: number }
  | { kind: 'status'; status: number }
  | { kind: 'delay'; milliseconds: number };

export interface ServeOptions {
  /** 0, the default, takes a free port. */
  port?: number;
  /** Asked for every request, so that tests can break chosen ones; `attempt` counts requests of that path from 1. */
  fault?: (request: { path: string; range: string | undefined; attempt: number }) => Fault | undefined;
  /** Extra headers for every answer. */
  headers?: Record<string, string>;
}

export interface StaticServer {
  /** Origin without a trailing slash: `http://localhost:1234`. */
  url: string;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const contentTypes: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.md': 'text/plain; charset=utf-8',
};

/** Serves the mounted folders on localhost with range requests, as a model host would. */
export async function serve(mounts: Mounts, options: ServeOptions = {}): Promise<StaticServer> {
  const handle = fileHandler(mounts, options);
  const server = createServer((request, response) => {
    handle(request, response).then(
      (handled) => {
        if (!handled) response.writeHead(404).end('Not found\n');
      },
      (error: unknown) => response.destroy(error instanceof Error ? error : undefined),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port ?? 0, 'localhost', resolve);
  });
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  const { port } = server.address() as AddressInfo;
  return { url: `http://localhost:${port}`, close, [Symbol.asyncDispose]: close };
}

/**
 * The request handler of {@link serve}, for use inside another server. It resolves to false, having sent nothing,
 * where no mounted file has the request's path.
 */
export function fileHandler(
  mounts: Mounts,
  { fault, headers = {} }: Omit<ServeOptions, 'port'> = {},
): (request: IncomingMessage, response: ServerResponse) => Promise<boolean> {
  const prefixes = Object.keys(mounts).toSorted((a, b) => b.length - a.length);
  const attempts = new Map<string, number>();

  return async (request, response) => {
    const path = safeDecode(new URL(request.url ?? '/', 'http://localhost').pathname);
    const prefix = path && prefixes.find((candidate) => path.startsWith(candidate));
    if (!path || !prefix || (request.method !== 'GET' && request.method !== 'HEAD')) return false;
    const relative = normalize(path.slice(prefix.length) || 'index.html');
    if (relative.split(sep).includes('..')) return false;
    let file = join(mounts[prefix]!, relative);
    let found = await stat(file).catch(() => undefined);
    if (found?.isDirectory()) {
      file = join(file, 'index.html');
      found = await stat(file).catch(() => undefined);
    }
    if (!found?.isFile()) return false;

    const range = request.headers.range;
    const attempt = (attempts.get(path) ?? 0) + 1;
    attempts.set(path, attempt);
    const broken = fault?.({ path, range, attempt });
    if (broken?.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, broken.milliseconds));
    if (broken?.kind === 'status') {
      response.writeHead(broken.status).end();
      return true;
    }

    const span = parseRange(range, found.size);
    const common = {
      ...headers,
      'accept-ranges': 'bytes',
      'cache-control': 'no-cache',
      'content-type': contentTypes[extname(file)] ?? 'application/octet-stream',
      etag: `"${found.size.toString(36)}-${Math.trunc(found.mtimeMs).toString(36)}"`,
    };
    if (span === 'unsatisfiable') {
      response.writeHead(416, { ...common, 'content-range': `bytes */${found.size}` }).end();
      return true;
    }
    const { start, end } = span ?? { start: 0, end: found.size };
    response.writeHead(span ? 206 : 200, {
      ...common,
      'content-length': end - start,
      ...(span && { 'content-range': `bytes ${start}-${end - 1}/${found.size}` }),
    });
    if (request.method === 'HEAD' || start === end) {
      response.end();
      return true;
    }
    const last = broken?.kind === 'drop' ? Math.min(end, start + broken.afterBytes) : end;
    if (last === start) {
      response.destroy();
      return true;
    }
    const stream = createReadStream(file, { start, end: last - 1 });
    stream.on('error', () => response.destroy());
    response.on('close', () => stream.destroy());
    if (last < end) {
      // Let what was promised before the fault reach the client, then break the connection.
      stream.on('end', () => response.write('', () => setTimeout(() => response.destroy(), 20)));
      stream.pipe(response, { end: false });
    } else stream.pipe(response);
    return true;
  };
}

/** One `bytes=` range of a file of `size` bytes; undefined where the whole file is meant (several ranges included). */
function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | 'unsatisfiable' | undefined {
  const match = header?.match(/^bytes=(\d*)-(\d*)$/);
  if (!match || (!match[1] && !match[2])) return undefined;
  if (!match[1]) {
    const suffix = Number(match[2]);
    return suffix === 0 ? 'unsatisfiable' : { start: Math.max(0, size - suffix), end: size };
  }
  const start = Number(match[1]);
  const end = match[2] ? Math.min(size, Number(match[2]) + 1) : size;
  return start < end ? { start, end } : 'unsatisfiable';
}

function safeDecode(path: string): string | undefined {
  try {
    const decoded = decodeURIComponent(path);
    return decoded.includes('\0') ? undefined : decoded;
  } catch {
    return undefined;
  }
}
