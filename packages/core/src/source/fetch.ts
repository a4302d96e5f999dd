import { SourceError } from '../errors.ts';
import { untilAbort } from '../abort.ts';

/** How files are fetched. */
export interface FetchOptions {
  /** Replaces the global `fetch`, e.g. to add credentials. */
  fetch?: typeof fetch;
  /** How the browser's HTTP cache takes part; what a `ModelCache` keeps is not kept there again. */
  httpCache?: RequestCache;
  /**
   * How often in a row a request is repeated that a network failure, a broken connection or a status of 408, 429 or 5xx
   * ended without a byte. 4 by default.
   */
  retries?: number;
  /** Wait before the first repetition; it doubles from one to the next, up to 10 s. 250 by default. */
  backoffMs?: number;
  /** A connection over which nothing comes for so long counts as broken. 30 000 by default. */
  stallMs?: number;
}

const longestWaitMs = 10_000;

/** One request and its answer. */
export class Exchange {
  readonly response: Response;
  readonly #url: string;
  readonly #timer: StallTimer;
  /** Whether the browser's own `fetch` gave the answer. */
  readonly #isNative: boolean;

  private constructor(url: string, response: Response, timer: StallTimer, isNative: boolean) {
    this.#url = url;
    this.#isNative = isNative;
    this.response = response;
    this.#timer = timer;
  }

  /**
   * Sends a GET request. 416 is an answer like those of 200…299.
   *
   * @throws SourceError for every other status and where no answer comes; the signal's reason on abort
   */
  static async start(
    url: string,
    headers: Record<string, string>,
    options: FetchOptions,
    signal: AbortSignal | undefined,
  ): Promise<Exchange> {
    const { fetch: request = fetch, stallMs = 30_000, httpCache } = options;
    signal?.throwIfAborted();
    const timer = new StallTimer(stallMs, signal);
    let response: Response;
    try {
      response = await request(url, {
        headers,
        signal: timer.signal,
        ...(httpCache && { cache: httpCache }),
      });
    } catch (cause) {
      timer.stop();
      signal?.throwIfAborted();
      throw new SourceError(
        url,
        timer.signal.aborted
          ? `no answer came within ${stallMs} ms`
          : 'the network failed, or the server does not allow this page to read it (CORS)',
        { cause, retryable: true },
      );
    }
    const exchange = new Exchange(url, response, timer, options.fetch === undefined);
    const { status, statusText, headers: answered } = response;
    if (response.ok || status === 416) return exchange;
    await exchange.cancel();
    throw new SourceError(url, `the server answered ${status} ${statusText}`.trim(), {
      status,
      retryable: status === 408 || status === 429 || status >= 500,
      retryAfterMs: 1000 * Number(answered.get('retry-after') ?? 0) || 0,
    });
  }

  /**
   * The body as it comes; a piece is valid until the next is asked for. Throws `SourceError` where the connection breaks
   * or stalls, the signal's reason on abort.
   */
  async *bytes(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const reader = this.response.body?.getReader();
    if (!reader) return;
    try {
      for (;;) {
        const { done, value } = await this.#guard(reader.read());
        if (done) return;
        this.#timer.restart();
        yield value;
        // Hundreds of megabytes would pile up before they are collected. Another's `fetch` may give what it still needs.
        if (this.#isNative && 'transfer' in value.buffer) value.buffer.transfer(0);
      }
    } finally {
      this.#timer.stop();
      reader.cancel().catch(() => {});
    }
  }

  /** The whole body, which browsers keep on disk when it is large. Throws as `bytes` does. */
  async blob(): Promise<Blob> {
    this.#timer.stop();
    return this.#guard(this.response.blob());
  }

  /** Ends the connection. */
  async cancel(): Promise<void> {
    this.#timer.stop();
    await this.response.body?.cancel().catch(() => {});
  }

  async #guard<T>(arriving: Promise<T>): Promise<T> {
    try {
      // Not every browser ends a read when its request is aborted.
      return await untilAbort(arriving, this.#timer.signal);
    } catch (cause) {
      this.#timer.rethrowAbort();
      throw new SourceError(this.#url, 'the connection broke', { cause, retryable: true });
    }
  }
}

/** Aborts when nothing happens for too long, and with another signal. */
class StallTimer {
  readonly #stalled = new AbortController();
  readonly #ms: number;
  readonly #outer: AbortSignal | undefined;
  readonly signal: AbortSignal;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number, outer: AbortSignal | undefined) {
    this.#ms = ms;
    this.#outer = outer;
    this.signal = outer ? AbortSignal.any([outer, this.#stalled.signal]) : this.#stalled.signal;
    this.restart();
  }

  restart(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#stalled.abort(), this.#ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  rethrowAbort(): void {
    this.#outer?.throwIfAborted();
  }
}

/** Decides how long to go on after failures that may pass. */
export class Patience {
  readonly #retries: number;
  readonly #backoffMs: number;
  readonly #signal: AbortSignal | undefined;
  #failures = 0;

  constructor({ retries = 4, backoffMs = 250 }: FetchOptions, signal: AbortSignal | undefined) {
    this.#retries = retries;
    this.#backoffMs = backoffMs;
    this.#signal = signal;
  }

  /** Something came: what failed before is forgotten. */
  progress(): void {
    this.#failures = 0;
  }

  /** Waits before another attempt. Throws `error` where there is to be none, and the signal's reason. */
  async after(error: unknown): Promise<void> {
    this.#signal?.throwIfAborted();
    if (!(error instanceof SourceError) || !error.retryable || this.#failures >= this.#retries) throw error;
    const backoff = this.#backoffMs * 2 ** this.#failures++ * (0.5 + Math.random() / 2);
    await sleep(Math.min(Math.max(backoff, error.retryAfterMs), longestWaitMs), this.#signal);
  }
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
