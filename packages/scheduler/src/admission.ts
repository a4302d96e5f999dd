import { QueueFullError } from './errors.ts';

/** Counts who is in, and lets those who wait enter in the order they came. */
export class Admission {
  readonly #limit: number;
  readonly #limitPerClient: number;
  readonly #inside = new Map<string, number>();
  readonly #waiting = new Set<{ client: string; enter: () => void; leave: () => void }>();
  #count = 0;

  constructor(limit: number, limitPerClient: number) {
    this.#limit = limit;
    this.#limitPerClient = limitPerClient;
  }

  /** Takes a place, or says why there is none. */
  take(client: string): QueueFullError | undefined {
    if (this.#count >= this.#limit) return new QueueFullError(this.#limit, 'all');
    const inside = this.#inside.get(client) ?? 0;
    if (inside >= this.#limitPerClient) return new QueueFullError(this.#limitPerClient, 'client');
    this.#count++;
    this.#inside.set(client, inside + 1);
    return undefined;
  }

  /** Takes a place as soon as there is one. Rejects with the signal's reason. */
  wait(client: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.take(client)) return resolve();
      const abort = (): void => {
        this.#waiting.delete(ticket);
        reject(signal!.reason as Error);
      };
      const leave = (): void => signal?.removeEventListener('abort', abort);
      const ticket = { client, enter: resolve, leave };
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiting.add(ticket);
    });
  }

  /** Gives a place back. */
  leave(client: string): void {
    this.#count--;
    const inside = this.#inside.get(client)! - 1;
    if (inside > 0) this.#inside.set(client, inside);
    else this.#inside.delete(client);
    for (const ticket of this.#waiting) {
      if (this.take(ticket.client)) continue;
      this.#waiting.delete(ticket);
      ticket.leave();
      ticket.enter();
    }
  }

  /** Lets everybody enter, to hear that it is over. */
  dispose(): void {
    for (const { enter, leave } of this.#waiting) {
      leave();
      enter();
    }
    this.#waiting.clear();
  }
}
