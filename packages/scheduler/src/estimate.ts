import type { BatchSizes } from './batch-sizes.ts';
import { stageOf, type Entry } from './request.ts';
import type { AnyStage } from './stage.ts';

/** Weight of the newest measurement in the running mean. */
const NEWEST = 0.3;

/** What a stage has lately taken. */
interface Typical {
  steps: number;
  /** One job's part of a step: what the step took, divided by the jobs in it. */
  stepMs: number;
}

/** Guesses how long requests will still take, from what others have taken. */
export class Estimates {
  readonly #typical = new WeakMap<AnyStage, Typical>();

  /** Notes a step of `jobs` jobs of `steps` steps each. */
  record(stage: AnyStage, steps: number, jobs: number, ms: number): void {
    const before = this.#typical.get(stage);
    const stepMs = ms / jobs;
    this.#typical.set(stage, {
      steps,
      stepMs: before ? before.stepMs + NEWEST * (stepMs - before.stepMs) : stepMs,
    });
  }

  /** Milliseconds that a step is expected to take; `undefined` where nothing is known. */
  stepMs(stage: AnyStage, key: string, jobs: number, sizes: BatchSizes): number | undefined {
    const typical = this.#typical.get(stage);
    return sizes.cost(key, jobs) ?? (typical && typical.stepMs * jobs);
  }

  /**
   * Milliseconds until `entry` is done, if nothing else is submitted: its own work, that of those before it, and that
   * of those that share its steps. `undefined` while its own stage was never measured.
   *
   * @param order all requests, in the order of their turns
   */
  remaining(entry: Entry, order: readonly Entry[]): number | undefined {
    if (entry.active && entry.job && !this.#typical.has(stageOf(entry))) return undefined;
    const own = this.work(entry);
    if (own === undefined) return undefined;
    let sum = own;
    let isAhead = true;
    for (const other of order) {
      if (other === entry) isAhead = false;
      else {
        const theirs = this.work(other) ?? 0;
        const shares = other.chain === entry.chain && other.active && entry.active;
        if (shares) sum += Math.min(theirs, own);
        else if (isAhead) sum += theirs;
      }
    }
    return sum;
  }

  /** Time that the request itself still needs, as far as it is known. */
  work(entry: Entry): number | undefined {
    let ms: number | undefined;
    for (const [index, stage] of entry.chain.stages.entries()) {
      const typical = this.#typical.get(stage);
      if (index < entry.stageIndex || !typical) continue;
      const { job } = entry;
      const isCurrent = index === entry.stageIndex && job;
      const steps = isCurrent ? job.steps - job.stepIndex : typical.steps;
      ms = (ms ?? 0) + steps * typical.stepMs;
    }
    return ms;
  }
}
