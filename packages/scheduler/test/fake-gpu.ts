import { vi } from 'vitest';
import type { Checkpoint, Stage, StageContext, StageJob } from '../src/index.ts';

/** A GPU whose work takes virtual time (Vitest's fake timers): one queue, in order. */
export class FakeGpu {
  /** What ran, in order. */
  readonly log: { stage: string; ids: number[]; start: number; end: number }[] = [];
  /** Jobs that hold memory. */
  live = 0;
  bytes = 0;
  memory: number = Infinity;
  lost = false;
  #freeAt = 0;

  /** Submits work; resolves at once. */
  submit(stage: string, ids: number[], ms: number): void {
    if (this.lost) throw new LostError();
    const start = Math.max(performance.now(), this.#freeAt);
    this.#freeAt = start + ms;
    this.log.push({ stage, ids, start, end: this.#freeAt });
  }

  whenDone: () => Promise<void> = async (): Promise<void> => {
    await sleep(this.#freeAt - performance.now());
  };

  take(bytes: number): () => void {
    if (this.bytes + bytes > this.memory) throw new MemoryError();
    this.live++;
    this.bytes += bytes;
    let taken = true;
    return () => {
      if (!taken) return;
      taken = false;
      this.live--;
      this.bytes -= bytes;
    };
  }
}

export class LostError extends Error {}
export class MemoryError extends Error {}

export interface Work {
  id: number;
  /** Denoising steps. */
  steps?: number;
  shape?: string;
  /** Throws in the step of this index. */
  throwsAt?: number;
}

/** A value between stages that holds memory. */
export interface Held extends Disposable {
  work: Work;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

interface FakeStageOptions {
  name: string;
  /** Virtual milliseconds of a step of `jobs` jobs. */
  ms: (jobs: number) => number;
  steps?: (work: Work) => number;
  capacity?: number;
  maxBatch?: number;
  bytes?: number;
}

/** A stage of the fake GPU. What it hands on counts as memory until somebody disposes of it. */
export function fakeStage(gpu: FakeGpu, options: FakeStageOptions): Stage<Held | Work, Held> {
  const { name, ms, steps = () => 1, capacity = 8, maxBatch = 1, bytes = 1 } = options;
  return {
    name,
    place: 'gpu',
    capacity,
    maxBatch: () => maxBatch,
    bytes: () => bytes,
    async start(input, context) {
      await sleep(1);
      const work = 'work' in input ? input.work : input;
      if (Symbol.dispose in input) input[Symbol.dispose]();
      if (gpu.lost) throw new LostError();
      return new FakeJob(gpu, name, work, steps(work), bytes, context, maxBatch > 1);
    },
    async step(jobs, { signal }) {
      // Encoding takes real time too, in which anything may happen.
      await sleep(0.2);
      signal.throwIfAborted();
      const fake = jobs as FakeJob[];
      const bad = fake.find(({ work, stepIndex }) => work.throwsAt === stepIndex);
      if (bad) throw new Error(`step ${bad.stepIndex} of ${bad.work.id}`);
      const free = gpu.take((jobs.length - 1) * bytes);
      free();
      gpu.submit(
        name,
        fake.map(({ work }) => work.id),
        ms(jobs.length),
      );
      for (const job of fake) job.advance();
    },
  };
}

class FakeJob implements StageJob<Held> {
  readonly steps: number;
  readonly batchKey: string | undefined;
  readonly work: Work;
  readonly #gpu: FakeGpu;
  readonly #stage: string;
  readonly #free: () => void;
  stepIndex = 0;

  constructor(
    gpu: FakeGpu,
    stage: string,
    work: Work,
    steps: number,
    bytes: number,
    { resume }: StageContext,
    batches: boolean,
  ) {
    this.#gpu = gpu;
    this.#stage = stage;
    this.work = work;
    this.steps = steps;
    this.batchKey = batches ? (work.shape ?? '') : undefined;
    this.stepIndex = resume?.step ?? 0;
    this.#free = gpu.take(bytes);
  }

  advance(): void {
    this.stepIndex++;
  }

  async result(): Promise<Held> {
    await sleep(0.5);
    const free = this.#gpu.take(1);
    return { work: this.work, [Symbol.dispose]: free };
  }

  async checkpoint(): Promise<Checkpoint> {
    const step = this.stepIndex;
    await sleep(2);
    return { stage: this.#stage, step, data: undefined };
  }

  dispose(): void {
    this.#free();
  }
}

/** A generator of numbers in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Runs virtual time until nothing is left to wait for. */
export async function settle(): Promise<void> {
  await vi.runAllTimersAsync();
}
