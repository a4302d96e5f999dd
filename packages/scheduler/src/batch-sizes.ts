/** How much more a larger batch must give before it is worth the longer wait for each of its jobs. */
const WORTHWHILE = 1.02;

/** Samples of a size before it is compared. The first one, which compiles and allocates, is not among them. */
const ENOUGH = 5;

/** Samples of a size that count. */
const KEPT = 16;

/** How much more than its samples say a size may give, divided by their number. */
const UNSURE = 0.25;

/**
 * Jobs, times the size, that others run until it may give as much more again: what a step costs may have changed, or been seen
 * wrongly. So a size that gives much less is tried less often, and all of them together take a few hundredths of the time.
 */
const DOUBTFUL = 25;

/** What is known of a size. */
interface Costs {
  /** Milliseconds, latest last. */
  samples: number[];
  /** Jobs that others have run since, where there were enough for it. */
  passed: number;
}

/**
 * Learns for each kind of work how many jobs to run at once, from what they cost. Sizes are powers of two: any other number of jobs
 * counts as the next one, to which stages may fill it up.
 */
export class BatchSizes {
  readonly #costs = new Map<string, Map<number, Costs>>();
  /** Sizes that ran out of memory, and what is larger. */
  readonly #tooLarge = new Map<string, number>();

  /** Notes what a step of so many jobs cost. */
  record(key: string, jobs: number, ms: number): void {
    const size = sizeFor(jobs);
    let sizes = this.#costs.get(key);
    if (!sizes) this.#costs.set(key, (sizes = new Map()));
    const costs = sizes.get(size);
    if (!costs) return void sizes.set(size, { samples: [], passed: 0 });
    costs.passed = 0;
    if (costs.samples.push(ms) > KEPT) costs.samples.shift();
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
    const samples = this.#costs.get(key)?.get(sizeFor(jobs))?.samples ?? [];
    return samples.length > 0 ? typical(samples) : undefined;
  }

  /** How many of `available` jobs to run now, at most `limit` (`best`). Counts as a choice. */
  choose(key: string, available: number, limit: number): number {
    const jobs = this.best(key, available, limit);
    for (const [size, costs] of this.#costs.get(key) ?? []) {
      if (size <= Math.min(available, limit)) costs.passed += jobs;
    }
    return jobs;
  }

  /**
   * How many of `available` jobs to run at once: the size that may have the best throughput, where the less is known of one the
   * more it is trusted. The next size is tried where the half of it is the best of the smaller ones.
   */
  best(key: string, available: number, limit: number): number {
    const most = Math.min(limit, (this.#tooLarge.get(key) ?? Infinity) - 1);
    let [best, bestRate] = [1, 0];
    let [sure, sureRate] = [1, 0];
    for (let size = 1; size <= most; size *= 2) {
      const { samples, passed } = this.#costs.get(key)?.get(size) ?? { samples: [], passed: 0 };
      const jobs = Math.min(size, available);
      if (samples.length >= ENOUGH) {
        const rate = jobs / typical(samples);
        if (rate > sureRate * WORTHWHILE) [sure, sureRate] = [jobs, rate];
        const hoped = rate * (1 + (UNSURE / samples.length) * (1 + passed / (size * DOUBTFUL)));
        if (hoped > bestRate * WORTHWHILE) [best, bestRate] = [jobs, hoped];
      } else if (size <= Math.min(available, 2 * sure)) return size;
      if (size >= available) break;
    }
    return best;
  }
}

/** The size that so many jobs count as. */
function sizeFor(jobs: number): number {
  return 2 ** Math.ceil(Math.log2(jobs));
}

/**
 * The lower quartile of the means of neighbours. Where the ends of two are heard of at once, one seems to have taken nothing and the
 * other both; now and then something else adds to a step, and a size that seems slower than it is will not be taken again for long.
 */
function typical(samples: readonly number[]): number {
  if (samples.length < 2) return samples[0]!;
  const means = samples.slice(1).map((value, i) => (value + samples[i]!) / 2);
  return means.toSorted((a, b) => a - b)[Math.floor((means.length - 1) / 4)]!;
}
