import { expose, transfer } from 'comlink';
import { BroadcastPeer, onNotice, onStranger, type Channel, type Notice } from './channel.ts';
import { beginLife, whenLifeEnds } from './life.ts';
import { packError, transferablesOf, type WireError } from './wire.ts';

/** What a job gets beside its input. */
export interface JobContext<Event> {
  /** Aborts when the client's signal does, or the client is gone. */
  signal: AbortSignal;
  /** Sends an event to the client that started the job. */
  emit: (event: Event) => void;
  /** Who started it; the same for all jobs of one page. */
  client: string;
  /** What an earlier run of this job, on a host that is gone, had kept. */
  resume: unknown;
  /** Leaves with the client what the job could go on from. */
  keep: (state: unknown) => void;
}

/** Work that a client starts by name and waits for. `In`, `Out` and `Event` must be cloneable. */
export type Job<In = never, Out = unknown, Event = never> = (
  input: In,
  context: JobContext<Event>,
) => Promise<Out>;

/** Jobs by name. Its type is all that a client needs to know of a worker. */
export type Service = Readonly<Record<string, Job<never, unknown, unknown>>>;

/** @internal What crosses: comlink proxies this object. */
export interface Host {
  start(id: number, name: string, input: unknown, resume: unknown): Promise<Outcome>;
  abort(id: number, reason: WireError): void;
}

/** @internal Errors come back as values, since comlink keeps only the message of what is thrown. */
export type Outcome = { ok: true; value: unknown } | { ok: false; error: WireError };

export interface ServeOptions {
  /** Whether this thread can do the work at all: a shared worker may lack what a page's own worker has. */
  isUsable?: () => Promise<boolean>;
}

/**
 * Offers jobs to whoever holds the other end of this worker: the page that made it, every page that connects to it where
 * it is a shared worker, and other tabs where its page asks for that. Call it once, at the top of a worker.
 */
export function serve(service: Service, options: ServeOptions = {}): void {
  const scope = globalThis as unknown as Channel;
  const life = beginLife();
  const usable = options.isUsable?.() ?? Promise.resolve(true);
  const welcome = async (channel: Channel, client: string): Promise<void> => {
    const { id: host } = await life;
    serveClient(service, channel, client);
    channel.postMessage({ calotype: 'welcome', host, usable: await usable } satisfies Notice, []);
  };
  const accept = (channel: Channel): void => {
    onNotice(channel, (notice, ports) => {
      if (notice.calotype === 'port') for (const port of ports) accept(port);
      if (notice.calotype === 'hello') void welcome(channel, notice.client);
      if (notice.calotype === 'open') void openTo(notice.group);
    });
  };
  const openTo = async (group: string): Promise<void> => {
    const { id } = await life;
    const channel = new BroadcastChannel(group);
    const known = new Set<string>();
    onStranger(channel, (address) => {
      if (known.has(address)) return;
      known.add(address);
      void welcome(new BroadcastPeer(channel, id, address), address);
    });
  };
  if ('onconnect' in scope) {
    scope.addEventListener('connect', (event) => accept((event as MessageEvent).ports[0]!));
  } else accept(scope);
}

/** Runs the jobs of one client, until it is gone. */
function serveClient(service: Service, channel: Channel, client: string): void {
  const running = new Map<number, AbortController>();
  whenLifeEnds(client, () => {
    for (const controller of running.values()) {
      controller.abort(new DOMException('The page that asked for this is gone.', 'AbortError'));
    }
  });
  const post = (notice: Notice): void => channel.postMessage(notice, []);
  const host: Host = {
    async start(id, name, input, resume) {
      const job = service[name] as Job<unknown, unknown, unknown> | undefined;
      const controller = new AbortController();
      running.set(id, controller);
      try {
        if (!job) throw new Error(`Internal error: no job '${name}'`);
        const value = await job(input, {
          signal: controller.signal,
          client,
          resume,
          emit: (event) => post({ calotype: 'event', job: id, event }),
          keep: (state) => post({ calotype: 'keep', job: id, state }),
        });
        return transfer({ ok: true, value }, transferablesOf(value));
      } catch (error) {
        return { ok: false, error: packError(error) };
      } finally {
        running.delete(id);
      }
    },
    abort(id, reason) {
      running.get(id)?.abort(new DOMException(reason.message, 'AbortError'));
    },
  };
  expose(host, channel);
}
