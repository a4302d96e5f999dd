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

/** What each of the threads does: reading a model takes seconds, which prompts and pictures must not wait for. */
type Role = 'files' | 'media';

type InputOf<Name extends keyof CpuService> = Parameters<CpuService[Name]>[0];
type OutputOf<Name extends keyof CpuService> = Awaited<ReturnType<CpuService[Name]>>;
type EventOf<Name extends keyof CpuService> =
  Parameters<CpuService[Name]>[1] extends JobContext<infer Event> ? Event : never;

registerAllErrors();

/** Where the work that needs no GPU is done. */
export interface CpuPlace {
  /** In workers of its own, or in the thread of the engine, between the GPU's steps. */
  place: 'workers' | 'engine';
  /** Why not in workers. */
  reason?: string | undefined;
}

/** Makes a link to a thread that serves `CpuService`. */
export type CpuLink = () => Link;

/**
 * The threads beside the GPU's. Where none can be started (pages from files, content security policies), the work is done
 * in this thread, as `place` and a warning on the console say.
 */
export class CpuThreads {
  /** Records what passes between the threads while it is set. */
  trace: () => Trace | undefined = () => undefined;
  readonly #link: CpuLink;
  readonly #clients = new Map<Role, Promise<Client<CpuService> | undefined>>();
  readonly #here: CpuService = cpuService();
  #place: CpuPlace = { place: 'workers' };

  constructor(link: CpuLink) {
    this.#link = link;
  }

  get place(): CpuPlace {
    return this.#place;
  }

  /** Whether reading files is another thread's. */
  async readsFiles(): Promise<boolean> {
    return (await this.#client('files')) !== undefined;
  }

  /** Does a job in the thread of that role, or here. Throws what the job throws, and the signal's reason. */
  async call<Name extends keyof CpuService>(
    role: Role,
    name: Name,
    input: InputOf<Name>,
    options: CallOptions<EventOf<Name>> & { bytes?: number } = {},
  ): Promise<OutputOf<Name>> {
    const client = await this.#client(role);
    if (!client) return this.#inThisThread(name, input, options);
    const start = performance.now();
    try {
      return (await client.call(name, input as never, options as never)) as OutputOf<Name>;
    } finally {
      const { bytes } = options;
      // Files are open for as long as their model is loaded: that is no message.
      if (name !== 'files') {
        this.trace()?.add({
          track: THREAD_TRACK + role,
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

  #client(role: Role): Promise<Client<CpuService> | undefined> {
    let client = this.#clients.get(role);
    if (!client) this.#clients.set(role, (client = this.#connect()));
    return client;
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
      if (this.#place.place === 'workers') {
        this.#place = { place: 'engine', reason };
        console.warn(
          `Calotype reads files, prompts and pictures in the thread of the GPU, since it could start no worker. ${reason}`,
        );
      }
      return undefined;
    }
  }

  dispose(): void {
    for (const client of this.#clients.values()) void client.then((open) => open?.dispose());
    this.#clients.clear();
  }
}
