/** Work that may lie ahead of the GPU: less makes it wait for the CPU, more makes an abort slow. */
const AHEAD_MS = 30;

const FEWEST_AHEAD = 2;
const MOST_AHEAD = 16;

/** Keeps a run that can be interrupted a little ahead of the GPU, by the time that its command buffers take. */
export class Pacer {
  readonly #pending: Promise<void>[] = [];
  #allowed = FEWEST_AHEAD + 2;
  #lastDone = 0;

  /** @param done resolves when the command buffer just submitted has run */
  submitted(done: Promise<unknown>): void {
    const timed = done.then(() => {
      const now = performance.now();
      const took = Math.max(now - this.#lastDone, 0.01);
      // After a pause the interval tells nothing.
      if (this.#pending.length > 1) {
        this.#allowed = Math.min(Math.max(Math.round(AHEAD_MS / took), FEWEST_AHEAD), MOST_AHEAD);
      }
      this.#lastDone = now;
      void this.#pending.shift();
    });
    // Whoever waits for it hears of a lost device.
    void timed.catch(() => {});
    this.#pending.push(timed);
  }

  /** The command buffer to wait for before the next is submitted; `undefined` where there is no need to wait. */
  get wait(): Promise<void> | undefined {
    return this.#pending.length > this.#allowed ? this.#pending[0] : undefined;
  }
}
