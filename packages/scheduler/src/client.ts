import { releaseProxy, transfer, wrap, type Remote } from 'comlink';
import { onNotice } from './channel.ts';
import { WorkerCrashedError } from './errors.ts';
import type { Host, Job, JobContext, Outcome, Service } from './host.ts';
import { beginLife, whenLifeEnds, type Life } from './life.ts';
import type { Connection, Link } from './links.ts';
import { packError, transferablesOf, unpackError } from './wire.ts';

type InputOf<J> = J extends Job<infer In, unknown, unknown> ? In : never;
type OutputOf<J> = J extends (...args: never[]) => Promise<infer Out> ? Out : never;
type EventOf<J> = J extends (input: never, context: JobContext<infer Event>) => unknown ? Event : never;

/** Hosts that may be lost under one call without any progress between. It may itself be what crashes them. */
const MOST_LOSSES = 3;

export interface CallOptions<Event> {
  /** Stops the job, wherever it is. */
  signal?: AbortSignal | undefined;
  onEvent?: ((event: Event) => void) | undefined;
  /**
   * Whether the call outlives its host: it is made again on the next one, with what the job had kept. Its input is copied,
   * never transferred.
   */
  resumable?: boolean | undefined;
}

/** A host that is there. */
interface Session {
  host: Remote<Host>;
  /** Resolves when the host is gone. */
  lost: Promise<WorkerCrashedError>;
  end(): void;
}

interface Call {
  onEvent: ((event: never) => void) | undefined;
  kept: unknown;
  losses: number;
}

/** `input`, marked for what of it is to be transferred. */
function moved<T>(input: T): T {
  const transferables = transferablesOf(input);
  return transferables.length > 0 ? (transfer(input as object, transferables) as T) : input;
}

/**
 * The page's end of a worker that serves `S`. Every call settles: with the job's result or error (its own class, see
 * `registerErrors`), with the signal's reason, or with `WorkerCrashedError` when the worker is gone and the call does not
 * outlive it. The next call starts another worker.
 *
 * @example
 * const client = new Client<typeof service>(new WorkerLink(() => new Worker(url, { type: 'module' })));
 * const result = await client.call('generate', { prompt }, { signal, onEvent: console.log });
 */
export class Client<S extends Service> {
  readonly #link: Link;
  readonly #calls = new Map<number, Call>();
  #life: Promise<Life> | undefined;
  #session: Promise<Session> | undefined;
  #next = 0;
  readonly #disposal = new AbortController();

  constructor(link: Link) {
    this.#link = link;
  }

  /** Starts a job and waits for it. */
  async call<Name extends keyof S & string>(
    name: Name,
    input: InputOf<S[Name]>,
    options: CallOptions<EventOf<S[Name]>> = {},
  ): Promise<OutputOf<S[Name]>> {
    const { onEvent, resumable = false } = options;
    const signals = [this.#disposal.signal, ...(options.signal ? [options.signal] : [])];
    const signal = AbortSignal.any(signals);
    signal.throwIfAborted();
    const id = this.#next++;
    const call: Call = { onEvent, kept: undefined, losses: 0 };
    this.#calls.set(id, call);
    let stop = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason as Error);
      signal.addEventListener('abort', stop, { once: true });
    });
    aborted.catch(() => {});
    try {
      for (;;) {
        const session = await Promise.race([this.#connected(), aborted]);
        const abort = (): void => void session.host.abort(id, packError(signal.reason));
        signal.addEventListener('abort', abort, { once: true });
        try {
          const sent = resumable ? input : moved(input);
          const outcome = session.host.start(id, name, sent, call.kept);
          const settled: Outcome | WorkerCrashedError = await Promise.race([outcome, session.lost, aborted]);
          if (settled instanceof WorkerCrashedError) {
            if (!resumable || ++call.losses > MOST_LOSSES) throw settled;
          } else if (settled.ok) return settled.value as OutputOf<S[Name]>;
          else throw unpackError(settled.error);
        } finally {
          signal.removeEventListener('abort', abort);
        }
      }
    } finally {
      signal.removeEventListener('abort', stop);
      this.#calls.delete(id);
    }
  }

  /** Calls that have not settled. */
  get pending(): number {
    return this.#calls.size;
  }

  /**
   * Lets go of the worker, and ends it if it is this page's own; what is pending rejects with `WorkerCrashedError`.
   * Idempotent.
   */
  dispose(): void {
    if (this.#disposal.signal.aborted) return;
    this.#disposal.abort(new WorkerCrashedError('it was disposed of'));
    const end = async (): Promise<void> => {
      const session = await this.#session;
      session?.end();
    };
    void end()
      .catch(() => {})
      .finally(() => {
        this.#link.dispose();
        void this.#life?.then((life) => life.end());
      });
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #connected(): Promise<Session> {
    this.#session ??= this.#connect();
    return this.#session;
  }

  #connect(): Promise<Session> {
    this.#life ??= beginLife();
    const forget = (): void => {
      if (this.#session === session) this.#session = undefined;
    };
    const session = this.#life.then(async ({ id }) => this.#open(await this.#link.connect(id), forget));
    session.catch(forget);
    return session;
  }

  #open({ channel, host, failed }: Connection, forget: () => void): Session {
    const proxy = wrap<Host>(channel);
    let end = (): void => {};
    const lost = new Promise<WorkerCrashedError>((resolve) => {
      const lose = (reason: string): void => {
        forget();
        resolve(new WorkerCrashedError(reason));
        end();
      };
      const stopWaiting = whenLifeEnds(host, () => lose('it ended'));
      const stopHearing = onNotice(channel, (notice) => {
        if (notice.calotype === 'event') this.#calls.get(notice.job)?.onEvent?.(notice.event as never);
        if (notice.calotype === 'keep') this.#keep(notice.job, notice.state);
      });
      end = () => {
        stopWaiting();
        stopHearing();
      };
      void failed.then(lose);
    });
    return {
      host: proxy,
      lost,
      end: () => {
        end();
        proxy[releaseProxy]();
      },
    };
  }

  #keep(job: number, state: unknown): void {
    const call = this.#calls.get(job);
    if (!call) return;
    call.kept = state;
    call.losses = 0;
  }
}
