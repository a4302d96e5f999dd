/** Work that may lie ahead of the GPU: less makes it wait for the CPU, more makes an abort slow. */
const AHEAD_MS = 30;

const FEWEST_AHEAD = 2;
const MOST_AHEAD = 16;

/** What a command buffer should take at most: whoever else uses the GPU gets its turn between two. */
const BUFFER_MS = 10;

/** Dispatches per command buffer: the GPU starts while the rest is encoded. */
const FEWEST_DISPATCHES = 4;
const MOST_DISPATCHES = 48;

/**
 * Keeps a run that can be interrupted a little ahead of the GPU, by the time that its command buffers take. With a share
 * below 1 it is not kept ahead at all, and pauses between.
 */
export class Pacer {
  readonly #share: () => number;
  readonly #pending: Promise<void>[] = [];
  #allowed = FEWEST_AHEAD + 2;
  #dispatches = MOST_DISPATCHES;
  #lastDone = 0;
  #pauseUntil = 0;

  /** @param share part of the time that the GPU may be kept busy, above 0 and at most 1 */
  constructor(share: () => number = () => 1) {
    this.#share = share;
  }

  /** How many dispatches the next command buffer should have. */
  get dispatches(): number {
    return this.#dispatches;
  }

  /**
   * @param done resolves when the command buffer just submitted has run
   * @param dispatches in it
   */
  submitted(done: Promise<unknown>, dispatches: number = MOST_DISPATCHES): void {
    const start = performance.now();
    const timed = done.then(() => {
      const now = performance.now();
      const took = Math.max(now - Math.max(start, this.#lastDone), 0.01);
      const share = this.#share();
      // After a pause the interval tells nothing.
      if (this.#pending.length > 1 || share < 1) {
        this.#allowed = between(FEWEST_AHEAD, AHEAD_MS / took, MOST_AHEAD);
        this.#dispatches = between(FEWEST_DISPATCHES, (BUFFER_MS / took) * dispatches, MOST_DISPATCHES);
      }
      this.#lastDone = now;
      this.#pauseUntil = now + took * (1 / share - 1);
      void this.#pending.shift();
    });
    // Whoever waits for it hears of a lost device.
    void timed.catch(() => {});
    this.#pending.push(timed);
  }

  /** What to wait for before the next command buffer is submitted; `undefined` where there is no need to wait. */
  get wait(): Promise<void> | undefined {
    if (this.#share() < 1) return this.#pause();
    return this.#pending.length > this.#allowed ? this.#pending[0] : undefined;
  }

  async #pause(): Promise<void> {
    await this.#pending.at(-1);
    const ms = this.#pauseUntil - performance.now();
    if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
  }
}

function between(least: number, value: number, most: number): number {
  return Math.min(Math.max(Math.round(value), least), most);
}
