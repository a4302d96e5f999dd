/** Steps that may be submitted and not done: one runs while the next is encoded. */
const DEPTH = 2;

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
  readonly #inFlight = new Set<Promise<void>>();
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
    while (this.#inFlight.size >= (this.share < 1 ? 1 : DEPTH)) await this.#inFlight.values().next().value;
    const pause = this.#pauseUntil - performance.now();
    if (this.share < 1 && pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
  }

  /** Follows what was submitted from `start` on; calls `measured` once the GPU is through. Not after a loss. */
  submitted(start: number, measured: (busy: Busy) => void): void {
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
    this.#inFlight.add(following);
  }
}
