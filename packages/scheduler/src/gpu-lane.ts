/** Steps that may be submitted and not done, whatever they take: one runs while the next is encoded. */
const DEPTH = 2;

/**
 * More of them lie ahead as long as they take less than this together: the news that a short step is done comes later than
 * the next one would be. It is what an abort or a more urgent request waits for.
 */
const AHEAD_MS = 20;
const MOST_DEPTH = 8;

/** What a step cost, and when the GPU was at it, rests included, in milliseconds. */
export interface Busy {
  ms: number;
  start: number;
  end: number;
}

/** A point in time, and how much of the time up to it the GPU was not kept from work. */
export interface Moment {
  at: number;
  workedMs: number;
}

/** Meters the one queue of a GPU: how much may be submitted, and what each step took. */
export class GpuLane {
  readonly #whenDone: () => Promise<unknown>;
  readonly #restedMs: () => number;
  /** What is submitted and not done, with what it is expected to take. */
  readonly #inFlight = new Map<Promise<void>, number>();
  #lastDone: Moment = { at: 0, workedMs: 0 };

  /** @param restedMs see `SchedulerOptions` */
  constructor(whenDone: () => Promise<unknown>, restedMs: () => number) {
    this.#whenDone = whenDone;
    this.#restedMs = restedMs;
  }

  /** Steps submitted and not done. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  now(): Moment {
    const at = performance.now();
    return { at, workedMs: at - this.#restedMs() };
  }

  /** Resolves when the next step may be submitted. */
  async room(): Promise<void> {
    while (this.#isFull) await this.#inFlight.keys().next().value;
  }

  get #isFull(): boolean {
    const { size } = this.#inFlight;
    if (size < DEPTH) return false;
    if (size >= MOST_DEPTH) return true;
    let aheadMs = 0;
    for (const expected of this.#inFlight.values()) aheadMs += expected;
    return aheadMs >= AHEAD_MS;
  }

  /**
   * Follows what was submitted from `begun` on; calls `measured` once the GPU is through. Not after a loss.
   *
   * @param expectedMs what it should take; `undefined` where nothing is known
   */
  submitted(begun: Moment, expectedMs: number | undefined, measured: (busy: Busy) => void): void {
    const follow = async (): Promise<void> => {
      try {
        await this.#whenDone();
      } catch {
        // The device is lost. Whoever uses it next hears of it.
        return;
      } finally {
        this.#inFlight.delete(following);
      }
      const end = this.now();
      const start = begun.at > this.#lastDone.at ? begun : this.#lastDone;
      this.#lastDone = end;
      measured({ ms: end.workedMs - start.workedMs, start: start.at, end: end.at });
    };
    // Not before this function has returned, so that `follow` can name its own promise.
    const following: Promise<void> = Promise.resolve().then(follow);
    this.#inFlight.set(following, expectedMs ?? Infinity);
  }
}
