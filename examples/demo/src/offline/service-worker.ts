// Keeps the page, its code and its model for use without a network. Compiled by the build, which puts in the files.
declare const FILES_OF_THE_BUILD: readonly (readonly [path: string, digest: string])[];

const worker = self as unknown as ServiceWorkerGlobalScope;
const cacheName = 'calotype-demo';
const scope = worker.registration.scope;
const digests = new Map(FILES_OF_THE_BUILD.map(([path, digest]) => [new URL(path, scope).href, digest]));
const modelIndex = [...digests.keys()].find((url) => url.endsWith('/model_index.json'));
const modelFolder = modelIndex?.slice(0, -'model_index.json'.length);

/** One entry a file and version, so that a new build fetches only what changed. */
function keyOf(url: string): string | undefined {
  const digest = digests.get(url);
  return digest === undefined ? undefined : `${url}?kept=${digest}`;
}

worker.addEventListener('install', (event) => {
  event.waitUntil(keepAll().then(() => worker.skipWaiting()));
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(dropOld().then(() => worker.clients.claim()));
});

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== location.origin || (request.method !== 'GET' && request.method !== 'HEAD')) return;
  url.search = '';
  url.hash = '';
  if (request.mode === 'navigate') {
    if (url.href === scope || url.href === `${scope}index.html`) event.respondWith(page(request));
    return;
  }
  const key = keyOf(url.href);
  if (key) event.respondWith(kept(key, request));
  else if (modelFolder && url.href.startsWith(modelFolder)) event.respondWith(optional(request));
});

async function keepAll(): Promise<void> {
  const cache = await caches.open(cacheName);
  for (const url of digests.keys()) {
    const key = keyOf(url)!;
    if (await cache.match(key)) continue;
    await cache.put(key, await whole(url));
  }
}

/** Fetches a file. What the page has just fetched of it, in ranges, comes out of the HTTP cache. */
async function whole(url: string): Promise<Response> {
  const cached = await fetch(url, { cache: 'no-cache' });
  const bytes = await cached.arrayBuffer();
  // A file put together from ranges may come as 206 although all of it was asked for, which a cache would refuse.
  if (cached.ok && (await digestOf(bytes)) === digests.get(url)) {
    const type = cached.headers.get('content-type') ?? 'application/octet-stream';
    return new Response(bytes, { headers: { ...isolation(cached), 'content-type': type } });
  }
  const response = await fetch(url, { cache: 'reload' });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response;
}

/** A page and its workers stay isolated only while their answers say so. */
function isolation({ headers }: Response): Record<string, string> {
  const names = [
    'cross-origin-opener-policy',
    'cross-origin-embedder-policy',
    'cross-origin-resource-policy',
  ];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = headers.get(name);
      return value === null ? [] : [[name, value]];
    }),
  );
}

async function digestOf(bytes: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest.subarray(0, 6), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function dropOld(): Promise<void> {
  const cache = await caches.open(cacheName);
  const current = new Set([...digests.keys()].map(keyOf));
  for (const { url } of await cache.keys()) {
    if (!current.has(url)) await cache.delete(url);
  }
}

/** The newest page where there is a network, else the one that was kept. */
async function page(request: Request): Promise<Response> {
  try {
    const response = await fetch(request);
    if (response.ok) return response;
  } catch {
    // No network: the kept page is why we are here.
  }
  const key = keyOf(`${scope}index.html`);
  return (key && (await caches.match(key))) || Response.error();
}

/** A file that models may have and this one has not: without a network that is still so, and no failure. */
async function optional(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch {
    return new Response(null, { status: 404 });
  }
}

async function kept(key: string, request: Request): Promise<Response> {
  const response = await caches.match(key);
  if (!response) return fetch(request);
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get('range') ?? '');
  if (!range) return response;
  const blob = await response.blob();
  const start = Number(range[1]);
  const end = Math.min(blob.size, range[2] ? Number(range[2]) + 1 : blob.size);
  const headers = new Headers(response.headers);
  headers.set('accept-ranges', 'bytes');
  if (start >= end) {
    headers.set('content-range', `bytes */${blob.size}`);
    return new Response(null, { status: 416, headers });
  }
  headers.set('content-range', `bytes ${start}-${end - 1}/${blob.size}`);
  headers.set('content-length', String(end - start));
  return new Response(blob.slice(start, end), { status: 206, statusText: 'Partial Content', headers });
}
