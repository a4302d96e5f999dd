import { proxy, releaseProxy, transfer, wrap, type Remote } from 'comlink';
import { WorkerCrashedError } from './errors.ts';
import type { Host, Job, Service } from './host.ts';
import { packError, transferablesOf, unpackError } from './wire.ts';

type InputOf<J> = J extends Job<infer In, unknown, unknown> ? In : never;
type OutputOf<J> = J extends (...args: never[]) => Promise<infer Out> ? Out : never;
type EventOf<J> = J extends (
  input: never,
  context: { signal: AbortSignal; emit: (event: infer E) => void },
) => unknown
  ? E
  : never;

export interface CallOptions<Event> {
  /** Stops the job, wherever it is. */
  signal?: AbortSignal | undefined;
  onEvent?: ((event: Event) => void) | undefined;
}

/**
 * The page's end of a worker that serves `S`. Every call settles: with the job's result or error (its own class, see
 * `registerErrors`), with the signal's reason, or with `WorkerCrashedError` when the worker is gone.
 *
 * @example
 * const client = new Client<typeof service>(new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' }));
 * const result = await client.call('generate', { prompt }, { signal, onEvent: console.log });
 */
export class Client<S extends Service> {
  readonly #worker: Worker;
  readonly #host: Remote<Host>;
  readonly #pending = new Map<number, (error: Error) => void>();
  #next = 0;
  #crash: WorkerCrashedError | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    this.#host = wrap<Host>(worker);
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      this.#fail(new WorkerCrashedError(event.message || 'its script could not be loaded'));
    });
    worker.addEventListener('messageerror', () => {
      this.#fail(new WorkerCrashedError('a message could not be read'));
    });
  }

  /** Starts a job and waits for it. */
  call<Name extends keyof S & string>(
    name: Name,
    input: InputOf<S[Name]>,
    options: CallOptions<EventOf<S[Name]>> = {},
  ): Promise<OutputOf<S[Name]>> {
    if (this.#crash) return Promise.reject(this.#crash);
    const { signal, onEvent } = options;
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        void this.#host.abort(id, packError(signal!.reason));
        reject(signal!.reason as Error);
      };
      const settle = (): void => {
        this.#pending.delete(id);
        signal?.removeEventListener('abort', abort);
      };
      this.#pending.set(id, reject);
      signal?.addEventListener('abort', abort, { once: true });
      const emit = proxy((event: unknown) => {
        if (this.#pending.has(id) && !signal?.aborted) onEvent?.(event as EventOf<S[Name]>);
      });
      this.#host
        .start(id, name, transfer(input as object, transferablesOf(input)), emit)
        .then((outcome) => {
          if (outcome.ok) resolve(outcome.value as OutputOf<S[Name]>);
          else reject(unpackError(outcome.error));
        }, reject)
        .finally(settle);
    });
  }

  /** Jobs that have not settled. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Ends the worker at once; what is pending rejects with `WorkerCrashedError`. Idempotent. */
  dispose(): void {
    if (this.#crash) return;
    this.#fail(new WorkerCrashedError('it was disposed of'));
    this.#host[releaseProxy]();
    this.#worker.terminate();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #fail(error: WorkerCrashedError): void {
    this.#crash ??= error;
    for (const reject of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
