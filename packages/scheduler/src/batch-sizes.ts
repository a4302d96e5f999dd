/** How much more a larger batch must give before it is worth the longer wait for each of its jobs. */
const WORTHWHILE = 1.02;

/** Samples of a size before it is compared. The first one, which compiles and allocates, is not among them. */
const ENOUGH = 2;

/** Samples kept. Their least is the cost: whatever else happens only adds. */
const KEPT = 8;

/** Learns for each kind of work how many jobs to run at once, from what they cost. Sizes are powers of two. */
export class BatchSizes {
  /** Batch key → size → milliseconds, latest last. */
  readonly #samples = new Map<string, Map<number, number[]>>();
  /** Sizes that ran out of memory, and what is larger. */
  readonly #tooLarge = new Map<string, number>();

  /** Notes what a step of `size` jobs cost. */
  record(key: string, size: number, ms: number): void {
    let sizes = this.#samples.get(key);
    if (!sizes) this.#samples.set(key, (sizes = new Map()));
    const costs = sizes.get(size);
    if (!costs) sizes.set(size, []);
    else if (costs.push(ms) > KEPT) costs.shift();
  }

  /** Notes that `size` jobs do not fit into memory. */
  exceeds(key: string, size: number): void {
    this.#tooLarge.set(key, Math.min(size, this.#tooLarge.get(key) ?? Infinity));
  }

  /** Forgets which sizes did not fit: there is more memory now. */
  forgetLimits(): void {
    this.#tooLarge.clear();
  }

  /** Milliseconds of a step of `size` jobs; `undefined` before it was measured. */
  cost(key: string, size: number): number | undefined {
    const costs = this.#samples.get(key)?.get(size);
    return costs && costs.length > 0 ? Math.min(...costs) : undefined;
  }

  /**
   * How many of `available` jobs to run at once: the size with the best throughput, or the next larger one while
   * growing has paid so far and it is not known yet.
   */
  choose(key: string, available: number, limit: number): number {
    const most = Math.min(available, limit, (this.#tooLarge.get(key) ?? Infinity) - 1);
    let best = 1;
    let bestRate = 0;
    for (let size = 1; size <= most; size *= 2) {
      const known = this.#samples.get(key)?.get(size)?.length ?? 0;
      if (known < ENOUGH) return size;
      const rate = size / this.cost(key, size)!;
      if (rate <= bestRate * WORTHWHILE) break;
      [best, bestRate] = [size, rate];
    }
    return best;
  }
}
