import { SourceError } from '../errors.ts';

/** How files are fetched. */
export interface FetchOptions {
  /** Replaces the global `fetch`, e.g. to add credentials. */
  fetch?: typeof fetch;
  /** How often a request is repeated after a network failure or a status of 408, 429 or 5xx. 4 by default. */
  retries?: number;
  /** Wait before the first repetition; it doubles from one to the next, up to 10 s. 250 by default. */
  backoffMs?: number;
}

const longestWaitMs = 10_000;

/**
 * Fetches `url` and gives what `read` makes of the answer; a connection that breaks inside `read` counts as a network
 * failure. 416 is passed to `read`, every other status outside 200…299 is not. Throws `SourceError`, or the signal's
 * reason on abort.
 */
export async function fetchWithRetry<T>(
  url: string,
  init: { headers?: Record<string, string>; method?: string; signal: AbortSignal | undefined },
  options: FetchOptions,
  read: (response: Response) => Promise<T>,
): Promise<T> {
  const { fetch: request = fetch, retries = 4, backoffMs = 250 } = options;
  const { signal, ...rest } = init;
  for (let attempt = 0; ; attempt++) {
    signal?.throwIfAborted();
    let failure: SourceError;
    let waitMs = Math.min(backoffMs * 2 ** attempt, longestWaitMs) * (0.5 + Math.random() / 2);
    try {
      const response = await request(url, signal ? { ...rest, signal } : rest);
      const { status } = response;
      if (response.ok || status === 416) return await read(response);
      await response.body?.cancel();
      failure = new SourceError(url, `the server answered ${status} ${response.statusText}`.trim(), {
        status,
      });
      if (status !== 408 && status !== 429 && status < 500) throw failure;
      waitMs = Math.min(Math.max(waitMs, retryAfterMs(response)), longestWaitMs);
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof SourceError) throw cause;
      failure = new SourceError(
        url,
        'the network failed, or the server does not allow this page to read it (CORS)',
        {
          cause,
        },
      );
    }
    if (attempt >= retries) throw failure;
    await sleep(waitMs, signal);
  }
}

function retryAfterMs(response: Response): number {
  const seconds = Number(response.headers.get('retry-after') ?? 0);
  return Number.isFinite(seconds) ? seconds * 1000 : 0;
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}
