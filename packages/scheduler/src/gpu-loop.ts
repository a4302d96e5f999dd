import type { Busy, GpuLane, Moment } from './gpu-lane.ts';
import type { NextStep } from './next-step.ts';
import type { FairShare } from './policy.ts';
import { stageOf, type Entry } from './request.ts';
import type { AnyStage, StageJob } from './stage.ts';

/** What the loop asks for and tells. */
export interface GpuLoopHost {
  /** The requests of the next step; `undefined` when there is nothing to do for now. */
  next(): Entry[] | undefined;
  advanced(entry: Entry): void;
  /** The step threw; these are left as they were. */
  failed(entries: readonly Entry[], error: unknown): void;
  /** The request settled during the step. */
  unwanted(entry: Entry): void;
  /** The GPU has done a step of this stage. */
  measured(batch: readonly Entry[], stage: AnyStage, busy: Busy): void;
}

/** Runs the GPU's steps one after the other, as long as there are any. */
export class GpuLoop {
  readonly lane: GpuLane;
  readonly #costs: NextStep;
  readonly #fairness: FairShare;
  readonly #host: GpuLoopHost;
  #isRunning = false;

  constructor(lane: GpuLane, costs: NextStep, fairness: FairShare, host: GpuLoopHost) {
    this.lane = lane;
    this.#costs = costs;
    this.#fairness = fairness;
    this.#host = host;
  }

  /** Goes on until there is nothing to do. Does nothing while it runs already. */
  async run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (;;) {
        await this.lane.room();
        // Only now: what is most urgent may have changed meanwhile.
        const batch = this.#host.next();
        if (!batch) break;
        await this.#step(batch);
      }
    } finally {
      this.#isRunning = false;
    }
  }

  async #step(batch: readonly Entry[]): Promise<void> {
    const [leader] = batch as readonly [Entry];
    const stage = stageOf(leader);
    const jobs = batch.map(({ job }) => job!);
    const lives = batch.map(({ life }) => life);
    const settleCost = this.#charge(batch, jobs[0]!, this.lane.now());
    const controller = new AbortController();
    // Whoever is left wants the step; when all are gone nobody does.
    const stop = (): void => {
      if (batch.every(({ state }) => state === 'ended')) controller.abort(leader.controller.signal.reason);
    };
    for (const entry of batch) {
      entry.state = 'running';
      entry.controller.signal.addEventListener('abort', stop);
    }
    let failure: { error: unknown } | undefined;
    try {
      await stage.step(jobs, { signal: controller.signal });
      settleCost();
    } catch (error) {
      failure = { error };
    }
    const left: Entry[] = [];
    batch.forEach((entry, i) => {
      entry.controller.signal.removeEventListener('abort', stop);
      if (entry.life !== lives[i]) jobs[i]!.dispose();
      else if (entry.state === 'ended') this.#host.unwanted(entry);
      else left.push(entry);
    });
    if (failure) this.#host.failed(left, failure.error);
    else for (const entry of left) this.#host.advanced(entry);
  }

  /** Charges the clients what the step will probably cost. The result, called once it is submitted, corrects that. */
  #charge(batch: readonly Entry[], job: StageJob<unknown>, begun: Moment): () => void {
    const [leader] = batch as readonly [Entry];
    const stage = stageOf(leader);
    const key = this.#costs.keyOf(leader);
    const expected = this.#costs.expected(batch);
    const estimate = (expected ?? 0) / batch.length;
    this.#fairness.serve(leader.client);
    for (const { client } of batch) this.#fairness.charge(client, estimate);
    return () =>
      this.lane.submitted(begun, expected, (busy) => {
        const { ms, start, end } = busy;
        this.#costs.sizes.record(key, batch.length, ms);
        // Whoever waits for it waits for rests too.
        this.#costs.estimates.record(stage, job.steps, batch.length, end - start);
        for (const { client } of batch) this.#fairness.charge(client, ms / batch.length - estimate);
        this.#host.measured(batch, stage, busy);
      });
  }
}
