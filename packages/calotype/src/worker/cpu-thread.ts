import {
  Client,
  THREAD_TRACK,
  type CallOptions,
  type Job,
  type JobContext,
  type Link,
  type Trace,
} from '@calotype/scheduler';
import { registerAllErrors } from './errors.ts';
import { cpuService, type CpuService } from './cpu-service.ts';

type InputOf<Name extends keyof CpuService> = Parameters<CpuService[Name]>[0];
type OutputOf<Name extends keyof CpuService> = Awaited<ReturnType<CpuService[Name]>>;
type EventOf<Name extends keyof CpuService> =
  Parameters<CpuService[Name]>[1] extends JobContext<infer Event> ? Event : never;

registerAllErrors();

/** Where the work that needs no GPU is done. */
export interface CpuPlace {
  /** In a worker of its own, or in the thread of the engine, between the GPU's steps. */
  place: 'worker' | 'engine';
  /** Why not in a worker. */
  reason?: string | undefined;
}

/** Makes a link to a thread that serves `CpuService`. */
export type CpuLink = () => Link;

/**
 * The thread beside the GPU's. Where none can be started (pages from files, content security policies), the work is done
 * in this one, as `place` and a warning on the console say.
 */
export class CpuThread {
  /** Records what passes between the threads while it is set. */
  trace: () => Trace | undefined = () => undefined;
  readonly #link: CpuLink;
  #client: Promise<Client<CpuService> | undefined> | undefined;
  readonly #here: CpuService = cpuService();
  #place: CpuPlace = { place: 'worker' };

  constructor(link: CpuLink) {
    this.#link = link;
  }

  get place(): CpuPlace {
    return this.#place;
  }

  /** Whether the work is another thread's. */
  async isElsewhere(): Promise<boolean> {
    return (await this.#connected()) !== undefined;
  }

  /** Does a job in that thread, or here. Throws what the job throws, and the signal's reason. */
  async call<Name extends keyof CpuService>(
    name: Name,
    input: InputOf<Name>,
    options: CallOptions<EventOf<Name>> & { bytes?: number } = {},
  ): Promise<OutputOf<Name>> {
    const client = await this.#connected();
    if (!client) return this.#inThisThread(name, input, options);
    const start = performance.now();
    try {
      return (await client.call(name, input as never, options as never)) as OutputOf<Name>;
    } finally {
      const { bytes } = options;
      // Files are open for as long as their model is loaded: that is no message.
      if (name !== 'files') {
        this.trace()?.add({
          track: THREAD_TRACK,
          name,
          start,
          end: performance.now(),
          ...(bytes !== undefined && { args: { bytes } }),
        });
      }
    }
  }

  async #inThisThread<Name extends keyof CpuService>(
    name: Name,
    input: InputOf<Name>,
    { signal, onEvent }: CallOptions<EventOf<Name>>,
  ): Promise<OutputOf<Name>> {
    const job = this.#here[name] as unknown as Job<InputOf<Name>, OutputOf<Name>, EventOf<Name>>;
    return job(input, {
      signal: signal ?? new AbortController().signal,
      client: '',
      emit: onEvent ?? (() => {}),
      resume: undefined,
      keep: () => {},
    });
  }

  #connected(): Promise<Client<CpuService> | undefined> {
    this.#client ??= this.#connect();
    return this.#client;
  }

  async #connect(): Promise<Client<CpuService> | undefined> {
    let client: Client<CpuService> | undefined;
    try {
      client = new Client<CpuService>(this.#link());
      await client.call('greet', undefined);
      return client;
    } catch (error) {
      client?.dispose();
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#place.place === 'worker') {
        this.#place = { place: 'engine', reason };
        console.warn(
          `Calotype reads files, prompts and pictures in the thread of the GPU, since there is no worker for that. ${reason}`,
        );
      }
      return undefined;
    }
  }

  dispose(): void {
    void this.#client?.then((client) => client?.dispose());
    this.#client = undefined;
  }
}
