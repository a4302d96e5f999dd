import { createHash } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { columns, fillContents, modelFile, rows, tensorBytes, weightsFile } from './contents.ts';
import { model } from '../../../core/test/onnx-writer.ts';
import { fileHandler } from '../serve.ts';

const BLOCK_BYTES = 2 ** 20;

export interface StreamServer extends AsyncDisposable {
  url: string;
  digest: string;
  /** Body bytes of the weights sent so far. */
  sent: number;
  /** Connections broken so far. */
  dropped: number;
}

/**
 * Serves a page and a model of `tensors` times 64 MiB that is on no disk. While the weights are fetched the connection
 * breaks `drops` times, at random.
 */
export async function serveStream(pageDir: string, tensors: number, drops: number): Promise<StreamServer> {
  const page = fileHandler({ '/': pageDir });
  const bytes = tensors * tensorBytes;
  const graph = modelOf(tensors);
  // As many bytes apart as would spread them over the whole download, give or take half.
  const gap = (): number => (bytes / (drops + 1)) * (0.5 + Math.random());
  let nextDrop = gap();
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    if (path === `/model/${modelFile}`)
      sendRange(response, request.headers.range, graph.length, (from, to) =>
        response.end(graph.subarray(from, to)),
      );
    else if (path === `/model/${weightsFile}`) {
      sendRange(response, request.headers.range, bytes, (from, to) => void sendWeights(response, from, to));
    } else {
      page(request, response).then(
        (handled) => handled || response.writeHead(404).end(),
        () => response.destroy(),
      );
    }
  });
  const sendWeights = async (response: ServerResponse, from: number, to: number): Promise<void> => {
    for (let at = from; at < to; at += BLOCK_BYTES) {
      const part = contents(at, Math.min(to, at + BLOCK_BYTES));
      if (response.destroyed) return;
      if (stream.dropped < drops && stream.sent + part.length > nextDrop) {
        stream.dropped++;
        nextDrop += gap();
        const rest = Math.floor(Math.random() * part.length);
        stream.sent += rest;
        response.write(part.subarray(0, rest), () => response.destroy());
        return;
      }
      stream.sent += part.length;
      if (!response.write(part)) {
        await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
      }
    }
    response.end();
  };
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  const stream: StreamServer = {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    digest: digestOf(bytes),
    sent: 0,
    dropped: 0,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return stream;
}

function sendRange(
  response: ServerResponse,
  range: string | undefined,
  size: number,
  send: (from: number, to: number) => void,
): void {
  const parts = /^bytes=(\d+)-(\d+)$/.exec(range ?? '');
  const from = parts ? Number(parts[1]) : 0;
  const to = parts ? Math.min(size, Number(parts[2]) + 1) : size;
  response.writeHead(parts ? 206 : 200, {
    etag: `"stream-${size}"`,
    'content-length': to - from,
    'cache-control': 'no-store',
    ...(parts && { 'content-range': `bytes ${from}-${to - 1}/${size}` }),
  });
  send(from, to);
}

function contents(from: number, to: number): Buffer {
  const first = Math.floor(from / 4);
  const elements = new Uint32Array(Math.ceil(to / 4) - first);
  fillContents(elements, first);
  return Buffer.from(elements.buffer, from - first * 4, to - from);
}

function digestOf(bytes: number): string {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes; at += BLOCK_BYTES)
    hash.update(contents(at, Math.min(bytes, at + BLOCK_BYTES)));
  return hash.digest('hex');
}

/** Gathers the same rows of every tensor. */
function modelOf(tensors: number): Uint8Array {
  const names = Array.from({ length: tensors }, (_, i) => String(i));
  const weight = (i: number): object => ({
    dtype: 'int32',
    dims: [rows, columns],
    external: { location: weightsFile, offset: String(i * tensorBytes), length: String(tensorBytes) },
  });
  return model({
    inputs: [{ name: 'rows', dtype: 'int32', shape: ['n'] }],
    outputs: names.map((name) => ({ name: `y${name}`, dtype: 'int32', shape: ['n', columns] })),
    initializers: Object.fromEntries(names.map((name, i) => [`w${name}`, weight(i) as never])),
    nodes: names.map((name) => ({ op: 'Gather', inputs: [`w${name}`, 'rows'], outputs: [`y${name}`] })),
  });
}
