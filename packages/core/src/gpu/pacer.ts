/**
 * Work that may lie ahead of the GPU before one more command buffer is submitted: less makes it wait for the CPU, more makes an
 * abort slow. Together with that buffer it is about half of the 50 ms that an abort may take: dispatches of one program do not all
 * take the same.
 */
const AHEAD_MS = 18;

/** What a command buffer should take at most: whoever else uses the GPU gets its turn between two. */
const BUFFER_MS = 8;

/** Command buffers that lie ahead whatever they take: one runs while the next is encoded. */
const FEWEST_AHEAD = 2;

/** Dispatches of a command buffer while nothing is known of what they take, and most of any. */
const UNKNOWN_DISPATCHES = 16;
const MOST_DISPATCHES = 256;

/** What a command buffer of a program that has not run yet counts as: with one ahead of it, the next one waits. */
const UNKNOWN_MS = AHEAD_MS;

/** What is left of an earlier measurement's weight after each new one. */
const DECAY = 0.7;

/** What the dispatches of a program take, learned from its runs. */
export class DispatchTimes {
  #ms = 0;
  #dispatches = 0;

  /** Notes what a command buffer took. Those told of together tell one sum, which is why sums are kept. */
  record(ms: number, dispatches: number): void {
    this.#ms = this.#ms * DECAY + ms;
    this.#dispatches = this.#dispatches * DECAY + dispatches;
  }

  /** Milliseconds that so many should take; `undefined` before any was measured. */
  expected(dispatches: number): number | undefined {
    return this.#dispatches > 0 ? (this.#ms / this.#dispatches) * dispatches : undefined;
  }

  /** How many the next command buffer should have. */
  get perBuffer(): number {
    const one = this.expected(1);
    if (one === undefined) return UNKNOWN_DISPATCHES;
    return Math.min(Math.max(Math.floor(BUFFER_MS / one), 1), MOST_DISPATCHES);
  }
}

/**
 * Keeps what runs on a device a little ahead of the GPU, by the time that its command buffers take, so that an abort finds
 * little of it submitted. With a share below 1 it is not kept ahead at all, and pauses between.
 */
export class Pacer {
  readonly #share: () => number;
  readonly #pending: { done: Promise<void>; ms: number }[] = [];
  #lastDone = 0;
  #pauseUntil = 0;

  /** @param share part of the time that the GPU may be kept busy, above 0 and at most 1 */
  constructor(share: () => number = () => 1) {
    this.#share = share;
  }

  /** Command buffers submitted and not done. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Whether the GPU has something to do. */
  get isBusy(): boolean {
    return this.pending > 0;
  }

  /** Milliseconds of work submitted and not done, as far as it is known. */
  get aheadMs(): number {
    return this.#pending.reduce((sum, { ms }) => sum + ms, 0);
  }

  /**
   * @param done resolves when the command buffer just submitted has run
   * @param times learn from it
   */
  submitted(done: Promise<unknown>, dispatches: number, times: DispatchTimes): void {
    const start = performance.now();
    const wasBusy = this.isBusy;
    const timed = done.then(() => {
      const now = performance.now();
      const took = Math.max(now - Math.max(start, this.#lastDone), 0.01);
      const share = this.#share();
      // After a pause the time until it was heard of counts too: that is better than nothing, but not more.
      const expected = times.expected(dispatches);
      if (wasBusy || share < 1 || expected === undefined || took < expected) times.record(took, dispatches);
      this.#lastDone = now;
      this.#pauseUntil = now + took * (1 / share - 1);
      void this.#pending.shift();
    });
    // Whoever waits for it hears of a lost device.
    void timed.catch(() => {});
    this.#pending.push({ done: timed, ms: times.expected(dispatches) ?? UNKNOWN_MS });
  }

  /** What to wait for before the next command buffer is submitted; `undefined` where there is no need to wait. */
  get wait(): Promise<void> | undefined {
    if (this.#share() < 1) return this.#pause();
    const isEnough = this.#pending.length >= FEWEST_AHEAD && this.aheadMs > AHEAD_MS;
    return isEnough ? this.#pending[0]!.done : undefined;
  }

  async #pause(): Promise<void> {
    await this.#pending.at(-1)?.done;
    const ms = this.#pauseUntil - performance.now();
    if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
  }
}
