/** Steps that may be submitted and not done, whatever they take: one runs while the next is encoded. */
const DEPTH = 2;

/**
 * More of them lie ahead as long as they take less than this together: the news that a short step is done comes later than
 * the next one would be. It is what an abort or a more urgent request waits for.
 */
const AHEAD_MS = 20;
const MOST_DEPTH = 8;

/** What a step cost, and when the GPU was at it, in milliseconds. */
export interface Busy {
  ms: number;
  start: number;
  end: number;
}

/** Meters the one queue of a GPU: how much may be submitted, and what each step took. */
export class GpuLane {
  /**
   * Share of the time that the GPU may be busy with this, above 0 and at most 1. Below 1 steps are not queued behind each
   * other, and a pause follows each.
   */
  share: number;
  readonly #whenDone: () => Promise<unknown>;
  /** What is submitted and not done, with what it is expected to take. */
  readonly #inFlight = new Map<Promise<void>, number>();
  #lastDone = 0;
  #pauseUntil = 0;

  constructor(whenDone: () => Promise<unknown>, share: number) {
    this.#whenDone = whenDone;
    this.share = share;
  }

  /** Steps submitted and not done. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Resolves when the next step may be submitted. */
  async room(): Promise<void> {
    while (this.#isFull) await this.#inFlight.keys().next().value;
    const pause = this.#pauseUntil - performance.now();
    if (this.share < 1 && pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
  }

  get #isFull(): boolean {
    const { size } = this.#inFlight;
    if (size < DEPTH) return this.share < 1 && size > 0;
    if (this.share < 1 || size >= MOST_DEPTH) return true;
    let aheadMs = 0;
    for (const expected of this.#inFlight.values()) aheadMs += expected;
    return aheadMs >= AHEAD_MS;
  }

  /**
   * Follows what was submitted from `start` on; calls `measured` once the GPU is through. Not after a loss.
   *
   * @param expectedMs what it should take; `undefined` where nothing is known
   */
  submitted(start: number, expectedMs: number | undefined, measured: (busy: Busy) => void): void {
    const follow = async (): Promise<void> => {
      try {
        await this.#whenDone();
      } catch {
        // The device is lost. Whoever uses it next hears of it.
        return;
      } finally {
        this.#inFlight.delete(following);
      }
      const end = performance.now();
      const from = Math.max(start, this.#lastDone);
      this.#lastDone = end;
      this.#pauseUntil = end + (end - from) * (1 / this.share - 1);
      measured({ ms: end - from, start: from, end });
    };
    // Not before this function has returned, so that `follow` can name its own promise.
    const following: Promise<void> = Promise.resolve().then(follow);
    this.#inFlight.set(following, expectedMs ?? Infinity);
  }
}
