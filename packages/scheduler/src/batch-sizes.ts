/** How much more a larger batch must give before it is worth the longer wait for each of its jobs. */
const WORTHWHILE = 1.02;

/** Samples of a size before it is compared. The first one, which compiles and allocates, is not among them. */
const ENOUGH = 3;

/** Samples kept. */
const KEPT = 8;

/** Choices after which a size that did not pay is measured anew: what a step costs may have changed, or been seen wrongly. */
const RETRY = 200;

/**
 * Learns for each kind of work how many jobs to run at once, from what they cost. Sizes are powers of two: any other number of jobs
 * counts as the next one, to which stages may fill it up.
 */
export class BatchSizes {
  /** Batch key → size → milliseconds, latest last. */
  readonly #samples = new Map<string, Map<number, number[]>>();
  /** Batch key → choices since its largest size was found not to pay. */
  readonly #settled = new Map<string, number>();
  /** Sizes that ran out of memory, and what is larger. */
  readonly #tooLarge = new Map<string, number>();

  /** Notes what a step of so many jobs cost. */
  record(key: string, jobs: number, ms: number): void {
    const size = sizeFor(jobs);
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

  /** Milliseconds of a step of so many jobs; `undefined` before it was measured. */
  cost(key: string, jobs: number): number | undefined {
    const costs = this.#samples.get(key)?.get(sizeFor(jobs));
    return costs && costs.length > 0 ? typical(costs) : undefined;
  }

  /**
   * How many of `available` jobs to run at once: the size with the best throughput, or the next larger one while
   * growing has paid so far and it is not known yet.
   */
  choose(key: string, available: number, limit: number): number {
    const most = Math.min(limit, (this.#tooLarge.get(key) ?? Infinity) - 1);
    let best = 1;
    let bestRate = 0;
    for (let size = 1; size <= most; size *= 2) {
      const isFull = size <= available;
      const known = this.#samples.get(key)?.get(size)?.length ?? 0;
      if (known < ENOUGH) return isFull ? size : best;
      const jobs = Math.min(size, available);
      const rate = jobs / this.cost(key, size)!;
      if (rate <= bestRate * WORTHWHILE) {
        if (isFull && this.#isToRetry(key)) this.#samples.get(key)!.set(size, []);
        break;
      }
      [best, bestRate] = [jobs, rate];
      if (!isFull) break;
    }
    return best;
  }

  #isToRetry(key: string): boolean {
    const count = (this.#settled.get(key) ?? 0) + 1;
    this.#settled.set(key, count % RETRY);
    return count === RETRY;
  }
}

/** The size that so many jobs count as. */
function sizeFor(jobs: number): number {
  return 2 ** Math.ceil(Math.log2(jobs));
}

/**
 * The median of the means of neighbours: now and then something else adds to a step, and where the ends of two are heard of at once,
 * one seems to have taken nothing and the other both.
 */
function typical(samples: readonly number[]): number {
  if (samples.length < 2) return samples[0]!;
  const means = samples.slice(1).map((value, i) => (value + samples[i]!) / 2);
  return means.toSorted((a, b) => a - b)[Math.floor((means.length - 1) / 2)]!;
}
