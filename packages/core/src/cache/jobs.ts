import { untilAbort } from '../abort.ts';

/** Work by key that several callers wait for: it runs once, and is aborted when the last of them gives up. */
export class SharedJobs<K> {
  readonly #jobs = new Map<K, { done: Promise<void>; waiting: number; controller: AbortController }>();

  /** Joins the work of that key, or starts it. Rejects with the signal's reason as soon as it aborts. */
  async join(
    key: K,
    signal: AbortSignal | undefined,
    start: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    signal?.throwIfAborted();
    let job = this.#jobs.get(key);
    if (!job) {
      const controller = new AbortController();
      const done = start(controller.signal).finally(() => {
        if (this.#jobs.get(key) === job) this.#jobs.delete(key);
      });
      job = { controller, waiting: 0, done };
      this.#jobs.set(key, job);
    }
    job.waiting++;
    try {
      await untilAbort(job.done, signal);
    } finally {
      // Not one that has ended: what it made may still listen to its signal.
      if (--job.waiting === 0 && this.#jobs.get(key) === job) {
        // Whoever comes from now on starts anew.
        this.#jobs.delete(key);
        job.controller.abort(signal?.reason);
      }
    }
  }

  has(key: K): boolean {
    return this.#jobs.has(key);
  }

  /** Aborts everything. Whoever waits hears `reason`. */
  abort(reason: unknown): void {
    for (const { controller } of this.#jobs.values()) controller.abort(reason);
  }
}

/** Lets a number of tasks run at once; the others wait in line. */
export class Gate {
  #free: number;
  readonly #line: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async run<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#line.push(resolve));
    try {
      signal.throwIfAborted();
      return await task();
    } finally {
      const next = this.#line.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
