import type { BatchSizes } from './batch-sizes.ts';
import type { Estimates } from './estimate.ts';
import { agedPriority } from './policy.ts';
import { inOrder } from './reporter.ts';
import { stageOf, type Entry } from './request.ts';
import type { AnyStage } from './stage.ts';

/**
 * Another request's earlier stage goes first, so that it can join a step, when it takes at most this many steps' time, or this
 * share of the steps that it can still join.
 */
const FILL_STEPS = 2;
const FILL_SHARE = 0.5;

/** Picks what the GPU does next, with what was learned of the costs. */
export class NextStep {
  readonly sizes: BatchSizes;
  readonly estimates: Estimates;
  readonly #stageIds = new WeakMap<AnyStage, number>();
  #stages = 0;

  constructor(sizes: BatchSizes, estimates: Estimates) {
    this.sizes = sizes;
    this.estimates = estimates;
  }

  /**
   * The requests whose jobs make the next step, the one whose turn it is first; `undefined` where there is nothing to do.
   *
   * @param mostJobs limit for all stages
   */
  choose(entries: Iterable<Entry>, mostJobs: number): Entry[] | undefined {
    const ready = inOrder(
      entries,
      (entry) => entry.state === 'ready' && !entry.needsMemory && stageOf(entry).place === 'gpu',
    );
    const [leader] = ready;
    if (!leader) return undefined;
    const stage = stageOf(leader);
    const key = leader.job!.batchKey;
    const limit = Math.min(key === undefined ? 1 : (stage.maxBatch?.(key) ?? 1), mostJobs);
    if (key === undefined || limit <= 1 || leader.alone) return [leader];
    const mates = ready.filter(
      (entry) => stageOf(entry) === stage && entry.job!.batchKey === key && !entry.alone,
    );
    const costKey = this.keyOf(leader);
    // Where larger batches gain nothing, nobody needs to join.
    const wanted = this.sizes.best(costKey, limit, limit);
    const joiner = mates.length < wanted ? this.#joiner(leader, ready) : undefined;
    if (joiner) return [joiner];
    return mates.slice(0, this.sizes.choose(costKey, mates.length, limit));
  }

  /** A request that could share the leader's later steps if its own earlier stage, which is short, ran first. */
  #joiner(leader: Entry, ready: readonly Entry[]): Entry | undefined {
    const { steps, stepIndex } = leader.job!;
    const step = this.expected([leader]) ?? 0;
    const most = step * Math.max(FILL_STEPS, FILL_SHARE * (steps - stepIndex));
    return ready.find(
      (entry) =>
        entry.chain === leader.chain &&
        entry.stageIndex < leader.stageIndex &&
        agedPriority(entry) >= agedPriority(leader) &&
        (this.expected([entry]) ?? 0) <= most,
    );
  }

  /** Names what a step costs by: stage and batch key. */
  keyOf(entry: Entry): string {
    const stage = stageOf(entry);
    let id = this.#stageIds.get(stage);
    if (id === undefined) this.#stageIds.set(stage, (id = this.#stages++));
    return `${id} ${entry.job?.batchKey ?? ''}`;
  }

  /** Milliseconds that a step of these is expected to take; `undefined` where nothing is known. */
  expected(batch: readonly Entry[]): number | undefined {
    const [entry] = batch;
    return this.estimates.stepMs(stageOf(entry!), this.keyOf(entry!), batch.length, this.sizes);
  }
}
