import { expose, transfer } from 'comlink';
import { packError, transferablesOf, type WireError } from './wire.ts';

/** What a job gets beside its input. */
export interface JobContext<Event> {
  /** Aborts when the client's signal does. */
  signal: AbortSignal;
  /** Sends an event to the client that started the job. */
  emit: (event: Event) => void;
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
  start(id: number, name: string, input: unknown, emit: (event: unknown) => void): Promise<Outcome>;
  abort(id: number, reason: WireError): void;
}

/** @internal Errors come back as values, since comlink keeps only the message of what is thrown. */
export type Outcome = { ok: true; value: unknown } | { ok: false; error: WireError };

/** Offers jobs to whoever holds the other end. Call it once, at the top of a worker. */
export function serve(service: Service, endpoint?: MessagePort): void {
  const running = new Map<number, AbortController>();
  const host: Host = {
    async start(id, name, input, emit) {
      const job = service[name] as Job<unknown, unknown, unknown> | undefined;
      const controller = new AbortController();
      running.set(id, controller);
      try {
        if (!job) throw new Error(`Internal error: no job '${name}'`);
        const value = await job(input, { signal: controller.signal, emit });
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
  expose(host, endpoint);
}
