import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serve, type StaticServer } from './serve.ts';

let folder: string;
let server: StaticServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serve-'));
  await mkdir(join(folder, 'site'));
  await mkdir(join(folder, 'model'));
  await writeFile(join(folder, 'secret'), 'secret');
  await writeFile(join(folder, 'site', 'index.html'), '<p>page</p>');
  await writeFile(join(folder, 'model', 'w.bin'), '0123456789');
  server = await serve(
    { '/': join(folder, 'site'), '/model/': join(folder, 'model') },
    {
      fault: ({ path, attempt }) =>
        !path.startsWith('/model/w.bin') || attempt > 1 ? undefined : { kind: 'delay', milliseconds: 1 },
    },
  );
});

afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

test('serves a folder index with its type', async () => {
  const response = await fetch(`${server.url}/`);
  expect(response.headers.get('content-type')).toMatch('text/html');
  expect(await response.text()).toBe('<p>page</p>');
});

test.each([
  { range: 'bytes=2-4', status: 206, body: '234', contentRange: 'bytes 2-4/10' },
  { range: 'bytes=7-', status: 206, body: '789', contentRange: 'bytes 7-9/10' },
  { range: 'bytes=8-99', status: 206, body: '89', contentRange: 'bytes 8-9/10' },
  { range: 'bytes=-3', status: 206, body: '789', contentRange: 'bytes 7-9/10' },
  { range: 'bytes=10-', status: 416, body: '', contentRange: 'bytes */10' },
  { range: 'bytes=0-1,3-4', status: 200, body: '0123456789', contentRange: null },
])('$range gives $status', async ({ range, status, body, contentRange }) => {
  const response = await fetch(`${server.url}/model/w.bin`, { headers: { range } });
  expect(response.status).toBe(status);
  expect(response.headers.get('content-range')).toBe(contentRange);
  expect(await response.text()).toBe(body);
});

test.each(['/missing', '/..%2fsecret', '/model/..%2f..%2fsecret', '/%ff', '/a%00'])(
  '%s is a 404',
  async (path) => {
    expect((await fetch(server.url + path)).status).toBe(404);
  },
);

test('faults: a status, then a connection dropped after some bytes, then the file', async () => {
  await using flaky = await serve(
    { '/': join(folder, 'model') },
    {
      fault: ({ attempt }) =>
        attempt === 1
          ? { kind: 'status', status: 503 }
          : attempt === 2
            ? { kind: 'drop', afterBytes: 4 }
            : undefined,
    },
  );
  expect((await fetch(`${flaky.url}/w.bin`)).status).toBe(503);
  await expect(fetch(`${flaky.url}/w.bin`).then((response) => response.text())).rejects.toThrow();
  expect(await (await fetch(`${flaky.url}/w.bin`)).text()).toBe('0123456789');
});
