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
const MOST_DISPATCHES = 512;

/** What a command buffer of a program that has not run yet counts as: with one ahead of it, the next one waits. */
const UNKNOWN_MS = AHEAD_MS;

/**
 * With a share below 1: how long the GPU is kept busy before it rests. A page's frame that comes at the wrong moment waits for that
 * long at most, and has the rest of its 16.7 ms. The news that a burst is done comes up to 2 ms late in Chromium, and counts as a
 * part of it, so shorter bursts would get much less than their share.
 */
const BURST_MS = 10;

/** A burst that would leave less than this does not go on. */
const LEAST_MS = 1;

/** Rest beyond what is owed that the next rest is shortened by: timers are late, by 4 ms where they follow each other. */
const LATE_MS = 8;

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

  /** How many a command buffer should have that may take so long. */
  perBuffer(ms: number = BUFFER_MS): number {
    const one = this.expected(1);
    if (one === undefined) return UNKNOWN_DISPATCHES;
    return Math.min(Math.max(Math.floor(ms / one), 1), MOST_DISPATCHES);
  }
}

/**
 * Keeps what runs on a device a little ahead of the GPU, by the time that its command buffers take, so that an abort finds
 * little of it submitted. With a share below 1 the GPU works in bursts of `BURST_MS`, and rests after each for as long as keeps
 * the share.
 */
export class Pacer {
  readonly #share: () => number;
  readonly #pending: { done: Promise<void>; ms: number }[] = [];
  #lastDone = 0;
  /** When the GPU last began to be busy, and when it should be through with all that is submitted. */
  #busySince = 0;
  #freeAt = 0;
  /** How long the GPU has been busy since the last rest, but for what it is at. */
  #burstMs = 0;
  /** When all rest that is owed is over. */
  #restUntil = 0;
  #resting: Promise<void> | undefined;
  /** When the GPU began to rest, if it does. */
  #restingSince: number | undefined;
  #restedMs = 0;

  /** @param share part of the time that the GPU may be kept busy, above 0 and at most 1 */
  constructor(share: () => number = () => 1) {
    this.#share = share;
  }

  /** Command buffers submitted and not done. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Milliseconds of work submitted and not done, as far as it is known. */
  get aheadMs(): number {
    return this.#pending.reduce((sum, { ms }) => sum + ms, 0);
  }

  /** Milliseconds that the GPU has been kept from work for its share, all in all. */
  get restedMs(): number {
    const since = this.#restingSince;
    return this.#restedMs + (since === undefined ? 0 : performance.now() - since);
  }

  /** What the next command buffer may take, where there is no need to wait. */
  get bufferMs(): number {
    return this.#share() < 1 ? Math.min(this.#burstLeftMs, BUFFER_MS) : BUFFER_MS;
  }

  /**
   * @param done resolves when the command buffer just submitted has run
   * @param times learn from it
   */
  submitted(done: Promise<unknown>, dispatches: number, times: DispatchTimes): void {
    const start = performance.now();
    const wasBusy = this.pending > 0;
    const ms = times.expected(dispatches) ?? UNKNOWN_MS;
    // With all of the GPU there are no bursts to measure.
    if (!wasBusy || this.#share() === 1) this.#busySince = start;
    this.#freeAt = (wasBusy ? this.#freeAt : start) + ms;
    const timed = done.then(() => {
      const now = performance.now();
      const took = Math.max(now - Math.max(start, this.#lastDone), 0.01);
      // After a pause the time until it was heard of counts too: that is better than nothing, but not more. In bursts it always
      // counts: ends that are heard of at once are told apart only by their sum.
      const expected = times.expected(dispatches);
      if (wasBusy || this.#share() < 1 || expected === undefined || took < expected)
        times.record(took, dispatches);
      this.#lastDone = now;
      void this.#pending.shift();
      this.#freeAt = Math.min(this.#freeAt, now + this.aheadMs);
      if (this.pending === 0) this.#drained(now);
    });
    // Whoever waits for it hears of a lost device.
    void timed.catch(() => {});
    this.#pending.push({ done: timed, ms });
  }

  /** What to wait for before the next command buffer is submitted; `undefined` where there is no need to wait. */
  get wait(): Promise<void> | undefined {
    if (this.#resting) return this.#resting;
    if (this.#share() < 1) return this.#burstLeftMs < LEAST_MS ? (this.#resting = this.#rest()) : undefined;
    const isEnough = this.#pending.length >= FEWEST_AHEAD && this.aheadMs > AHEAD_MS;
    return isEnough ? this.#pending[0]!.done : undefined;
  }

  /** How much longer the GPU may be kept busy. */
  get #burstLeftMs(): number {
    const now = performance.now();
    const current = this.pending > 0 ? Math.max(now, this.#freeAt) - this.#busySince : 0;
    return BURST_MS - this.#burstMs - current;
  }

  #drained(now: number): void {
    const busyMs = now - this.#busySince;
    this.#burstMs += busyMs;
    this.#restUntil = Math.max(this.#restUntil, this.#busySince - LATE_MS) + busyMs / this.#share();
  }

  async #rest(): Promise<void> {
    try {
      await this.#pending.at(-1)?.done;
      const now = performance.now();
      if (now < this.#restUntil) {
        this.#restingSince = now;
        await new Promise((resolve) => setTimeout(resolve, this.#restUntil - now));
        this.#restedMs = this.restedMs;
        this.#restingSince = undefined;
      }
      this.#burstMs = 0;
    } finally {
      this.#resting = undefined;
    }
  }
}
