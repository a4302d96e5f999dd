import { Admission } from './admission.ts';
import { BatchSizes } from './batch-sizes.ts';
import { SchedulerDisposedError } from './errors.ts';
import { Estimates } from './estimate.ts';
import { GpuLane } from './gpu-lane.ts';
import { GpuLoop } from './gpu-loop.ts';
import { NextStep } from './next-step.ts';
import type { SchedulerOptions } from './options.ts';
import { agedPriority, FairShare } from './policy.ts';
import { first, Reporter } from './reporter.ts';
import {
  deadlineOf,
  hasEnded,
  newEntry,
  stageOf,
  type Entry,
  type RequestHandle,
  type RequestOptions,
} from './request.ts';
import { Rooms } from './rooms.ts';
import { disposeValue, type AnyStage, type Chain, type StageJob } from './stage.ts';
import type { Trace } from './trace.ts';

/** Restarts of one request without a new checkpoint between them: it may itself be what loses the device. */
const MOST_RESTARTS = 3;

/**
 * Serves requests on one GPU: at every step it picks what runs next, and which jobs share it. What it holds is bounded by
 * the capacities of the stages, what waits by `limit`.
 *
 * @example
 * const pictures = chain(encode).to(denoise).to(decode);
 * const { result } = scheduler.submit(pictures, { prompt }, { client: 'tab 1', signal });
 */
export class Scheduler {
  /** Requests that may have left the queue at once. See `SchedulerOptions`. */
  maxActive: number;
  /** Most jobs in one step. See `SchedulerOptions`. */
  maxBatch: number;
  readonly #options: SchedulerOptions;
  readonly #admission: Admission;
  readonly #loop: GpuLoop;
  readonly #fairness = new FairShare();
  readonly #nextStep = new NextStep(new BatchSizes(), new Estimates());
  /** All that have not settled, by arrival. */
  readonly #entries = new Set<Entry>();
  readonly #reporter = new Reporter(this.#entries, this.#nextStep.estimates);
  /** Settled requests are here too until their job is gone. */
  readonly #rooms: Rooms;
  #next = 0;
  #recovery: Promise<void> | undefined;
  #disposed = false;
  #pumping = false;

  constructor(options: SchedulerOptions = {}) {
    this.#options = options;
    this.maxActive = options.maxActive ?? Infinity;
    this.maxBatch = options.maxBatch ?? Infinity;
    const lane = new GpuLane(options.whenDone ?? (async () => {}), options.restedMs ?? (() => 0));
    this.#loop = new GpuLoop(lane, this.#nextStep, this.#fairness, {
      next: () => {
        const isOpen = !this.#disposed && !this.#recovery;
        return isOpen ? this.#nextStep.choose(this.#entries, this.maxBatch) : undefined;
      },
      advanced: (entry) => this.#advanced(entry),
      failed: (entries, error) => this.#failed(entries, error),
      unwanted: (entry) => this.#clear(entry),
      measured: (batch, stage, busy) => this.#reporter.measured(batch, stage.name, busy),
    });
    this.#admission = new Admission(options.limit ?? 64, options.limitPerClient ?? Infinity);
    this.#rooms = new Rooms(options.memoryBudget ?? Infinity);
  }

  /** Records spans while it is set. */
  get trace(): Trace | undefined {
    return this.#reporter.trace;
  }

  set trace(trace: Trace | undefined) {
    this.#reporter.trace = trace;
  }

  /** What is here: requests, those of them that have left the queue, bytes and steps under way. All 0 when idle. */
  get stats(): { requests: number; active: number; heldBytes: number; inFlight: number; clients: number } {
    return {
      requests: this.#entries.size,
      active: this.#active,
      heldBytes: this.#rooms.heldBytes,
      inFlight: this.#loop.lane.inFlight,
      clients: this.#fairness.clients,
    };
  }

  /**
   * Puts a request into the queue.
   *
   * @param input description of the request: it stays here until the request settles, to start over from
   * @returns a handle; its `result` rejects with `QueueFullError` when the request is not admitted
   */
  submit<In, Out>(chain: Chain<In, Out>, input: In, options: RequestOptions = {}): RequestHandle<Out> {
    const id = this.#next++;
    const { client = '', signal, name = `request ${id}` } = options;
    let admitted: Entry | undefined;
    const order = { priority: options.priority ?? 0, deadline: deadlineOf(options.deadlineMs) };
    const result = new Promise<Out>((resolve, reject) => {
      const enter = (): void => {
        if (this.#disposed) throw new SchedulerDisposedError();
        if (signal?.aborted) this.#admission.leave(client);
        signal?.throwIfAborted();
        admitted = this.#enter(
          id,
          chain,
          input,
          { ...options, name },
          {
            ...order,
            resolve: resolve as (value: unknown) => void,
            reject,
          },
        );
      };
      if (this.#disposed) reject(new SchedulerDisposedError());
      else if (signal?.aborted) reject(signal.reason as Error);
      else if (options.whenFull === 'wait') this.#admission.wait(client, signal).then(enter).catch(reject);
      else {
        const refusal = this.#admission.take(client);
        if (refusal) reject(refusal);
        else enter();
      }
    });
    return {
      id,
      name,
      result,
      reorder: (changes) => {
        if (changes.priority !== undefined) order.priority = changes.priority;
        if ('deadlineMs' in changes) order.deadline = deadlineOf(changes.deadlineMs);
        if (admitted) Object.assign(admitted, order);
        this.#wake();
      },
    };
  }

  /** Tells that everything on the GPU is gone, where no step has met that. Requests start over once it is recovered. */
  lose(error: unknown): void {
    if (this.#recovery || this.#disposed) return;
    const lives: Entry[] = [];
    for (const entry of this.#entries) if (this.#isOnGpu(entry)) lives.push(entry);
    for (const entry of lives) this.#restart(entry, error);
    this.#nextStep.sizes.forgetLimits();
    const recover = this.#options.recover;
    if (!recover) {
      for (const entry of this.#entries) this.#end(entry, () => entry.reject(error));
      return;
    }
    this.#recovery = recover(error)
      .catch((cause: unknown) => {
        for (const entry of this.#entries) this.#end(entry, () => entry.reject(cause));
      })
      .finally(() => {
        this.#recovery = undefined;
        this.#retryStarved();
      });
  }

  /** Rejects all requests with `SchedulerDisposedError` and frees what they hold. Idempotent. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#admission.dispose();
    for (const entry of this.#entries) this.#end(entry, () => entry.reject(new SchedulerDisposedError()));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #enter<In, Out>(
    id: number,
    chain: Chain<In, Out>,
    input: In,
    { client = '', name, signal, onEvent, resume }: RequestOptions & { name: string },
    rest: Pick<Entry, 'priority' | 'deadline' | 'resolve' | 'reject'>,
  ): Entry {
    const abort = (): void => this.#end(entry, () => entry.reject(signal!.reason));
    const entry = newEntry({
      ...rest,
      id,
      name,
      chain,
      input,
      onEvent,
      checkpoint: resume,
      client: this.#fairness.enter(client),
      unlisten: () => signal?.removeEventListener('abort', abort),
    });
    signal?.addEventListener('abort', abort, { once: true });
    this.#entries.add(entry);
    this.#wake();
    return entry;
  }

  /** Looks again, soon, at what can be started and run: something has changed. */
  #wake(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      if (this.#recovery) return;
      this.#startAll();
      this.#reporter.positions();
      void this.#loop.run();
    });
  }

  /** Starts every job that there is room for, in the order of turns. */
  #startAll(): void {
    const most = this.maxActive;
    let active = this.#active;
    // Where one found no room, nobody after it in the order looks: small requests must not hold up a large one.
    const full = new Map<AnyStage, number>();
    const mayStart = (entry: Entry): boolean => {
      if (entry.state !== 'waiting' || entry.needsMemory || (!entry.active && active >= most)) return false;
      const stage = stageOf(entry);
      const priority = agedPriority(entry);
      if (priority <= (full.get(stage) ?? -Infinity)) return false;
      if (this.#rooms.has(entry, stage)) return true;
      full.set(stage, priority);
      return false;
    };
    for (let next = first(this.#entries, mayStart); next; next = first(this.#entries, mayStart)) {
      if (!next.active) active++;
      void this.#start(next);
    }
  }

  get #active(): number {
    let count = 0;
    for (const { active } of this.#entries) if (active) count++;
    return count;
  }

  async #start(entry: Entry): Promise<void> {
    const stage = stageOf(entry);
    const { life, value } = entry;
    const now = performance.now();
    this.#reporter.span(entry, entry.active ? `wait for ${stage.name}` : 'queued', entry.since, now);
    entry.active = true;
    entry.state = 'starting';
    entry.since = now;
    entry.value = undefined;
    this.#rooms.enter(entry, stage, stage.bytes?.(value) ?? 0);
    const { checkpoint } = entry;
    let job: StageJob<unknown>;
    try {
      job = await stage.start(value, {
        signal: entry.controller.signal,
        emit: (event) => this.#reporter.emit(entry, { type: 'stage', stage: stage.name, event }, life),
        resume: checkpoint?.stage === stage.name ? checkpoint : undefined,
      });
    } catch (error) {
      if (entry.life === life && entry.state === 'starting') this.#failed([entry], error);
      else if (entry.life === life) this.#clear(entry);
      return;
    }
    if (entry.life !== life || hasEnded(entry)) {
      job.dispose();
      if (entry.life === life) this.#clear(entry);
      return;
    }
    entry.job = job;
    entry.state = 'ready';
    this.#reporter.step(entry);
    // Whoever hears of it may abort.
    if (hasEnded(entry)) return;
    if (job.stepIndex >= job.steps) void this.#finish(entry);
    else if (stage.place === 'cpu') void this.#runOnCpu(entry);
    this.#wake();
  }

  /** After a step that went well. */
  #advanced(entry: Entry): void {
    entry.state = 'ready';
    entry.alone = false;
    this.#reporter.step(entry);
    if (hasEnded(entry)) return;
    const job = entry.job!;
    if (job.stepIndex >= job.steps) void this.#finish(entry);
    else void this.#checkpoint(entry);
  }

  async #runOnCpu(entry: Entry): Promise<void> {
    const { life } = entry;
    const job = entry.job!;
    const stage = stageOf(entry);
    entry.state = 'running';
    try {
      while (job.stepIndex < job.steps) {
        await stage.step([job], { signal: entry.controller.signal });
        if (entry.life !== life || entry.controller.signal.aborted) break;
        this.#reporter.step(entry);
      }
    } catch (error) {
      if (entry.life === life && entry.state === 'running') return this.#failed([entry], error);
    }
    if (entry.life !== life) job.dispose();
    else if (hasEnded(entry)) this.#clear(entry);
    else await this.#finish(entry);
  }

  /** Takes a job's result to the next stage, or to whoever made the request. */
  async #finish(entry: Entry): Promise<void> {
    const { life } = entry;
    const job = entry.job!;
    const stage = stageOf(entry);
    entry.state = 'finishing';
    let output: unknown;
    try {
      output = await job.result();
    } catch (error) {
      if (entry.life === life && entry.state === 'finishing') this.#failed([entry], error);
      else {
        job.dispose();
        if (entry.life === life) this.#clear(entry);
      }
      return;
    }
    job.dispose();
    if (entry.life !== life || entry.state !== 'finishing') {
      disposeValue(output);
      if (entry.life === life) this.#clear(entry);
      return;
    }
    this.#reporter.span(entry, stage.name, entry.since);
    entry.job = undefined;
    entry.since = performance.now();
    this.#rooms.release(entry);
    this.#retryStarved();
    if (entry.stageIndex + 1 === entry.chain.stages.length) {
      this.#end(entry, () => entry.resolve(output));
      this.#clear(entry);
      return;
    }
    entry.stageIndex++;
    entry.value = output;
    entry.state = 'waiting';
    this.#wake();
  }

  async #checkpoint(entry: Entry): Promise<void> {
    const { job, life } = entry;
    const now = performance.now();
    if (!job?.checkpoint || now - entry.checkpointed < (this.#options.checkpointMs ?? 1000)) return;
    entry.checkpointed = now;
    try {
      const checkpoint = await job.checkpoint();
      if (entry.life !== life || entry.state === 'ended') return;
      entry.checkpoint = checkpoint;
      entry.restarts = 0;
      this.#reporter.emit(entry, { type: 'checkpoint', checkpoint });
    } catch {
      // The next step meets what this one met.
    }
  }

  /** After work for these requests has thrown. */
  #failed(entries: readonly Entry[], error: unknown): void {
    const { isLoss, isOutOfMemory } = this.#options;
    for (const entry of entries) entry.state = entry.job ? 'ready' : 'waiting';
    if (isLoss?.(error)) {
      // Also one whose start failed has nothing left of what it was given.
      for (const entry of entries) if (!entry.job) this.#restart(entry, error);
      this.lose(error);
      return;
    }
    if (entries.length > 1) {
      if (isOutOfMemory?.(error))
        this.#nextStep.sizes.exceeds(this.#nextStep.keyOf(entries[0]!), entries.length);
      else for (const entry of entries) entry.alone = true;
      this.#wake();
      return;
    }
    const [entry] = entries;
    if (!entry) return this.#wake();
    const othersHold = [...this.#entries].some((other) => other !== entry && other.job);
    if (isOutOfMemory?.(error) && othersHold) {
      // The others are given all there is, and finish.
      this.#startOver(entry, error);
      entry.needsMemory = true;
      this.#wake();
      return;
    }
    this.#end(entry, () => entry.reject(error));
  }

  /** Sends a request back to its beginning after a loss, unless that happens all the time. */
  #restart(entry: Entry, error: unknown): void {
    this.#startOver(entry, error);
    if (entry.restarts++ >= MOST_RESTARTS) this.#end(entry, () => entry.reject(error));
  }

  #startOver(entry: Entry, error: unknown): void {
    // A job inside a step is disposed of when that returns.
    if (entry.state !== 'running') entry.job?.dispose();
    if (entry.stageIndex > 0) disposeValue(entry.value);
    this.#rooms.leave(entry);
    entry.life++;
    Object.assign(entry, {
      job: undefined,
      state: 'waiting',
      stageIndex: 0,
      value: entry.input,
      active: false,
    });
    entry.since = performance.now();
    const reason = error instanceof Error ? error.message : String(error);
    this.#reporter.emit(entry, { type: 'restarted', reason });
  }

  /** Whether a loss of the device takes something from this request. */
  #isOnGpu(entry: Entry): boolean {
    if (entry.state === 'ended' || !entry.active) return false;
    return entry.state === 'waiting' || stageOf(entry).place === 'gpu';
  }

  /** Settles a request once, whatever it is doing. */
  #end(entry: Entry, settle: () => void): void {
    if (entry.state === 'ended') return;
    const { state } = entry;
    entry.state = 'ended';
    this.#entries.delete(entry);
    this.#fairness.leave(entry.client);
    this.#admission.leave(entry.client.id);
    entry.unlisten();
    this.#reporter.span(entry, 'request', entry.submitted, performance.now());
    settle();
    entry.controller.abort(new DOMException('The request has ended.', 'AbortError'));
    // What is under way frees its own when it returns.
    if (state === 'waiting' || state === 'ready') this.#clear(entry);
    this.#wake();
  }

  /** Frees what a settled request still held. */
  #clear(entry: Entry): void {
    entry.job?.dispose();
    entry.job = undefined;
    if (entry.stageIndex > 0) disposeValue(entry.value);
    entry.value = undefined;
    this.#rooms.leave(entry);
    this.#retryStarved();
  }

  /** Lets those try again that had found no memory: some has come back. */
  #retryStarved(): void {
    for (const entry of this.#entries) entry.needsMemory = false;
    this.#wake();
  }
}
