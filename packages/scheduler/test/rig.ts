import { afterEach, beforeEach, expect, vi } from 'vitest';
import { callStage, chain, Scheduler, type Chain, type SchedulerOptions } from '../src/index.ts';
import {
  FakeGpu,
  fakeStage,
  LostError,
  MemoryError,
  settle,
  sleep,
  type Held,
  type Work,
} from './fake-gpu.ts';

/** A scheduler on a fake GPU in virtual time; new for every test of the file that makes it. */
export class Rig {
  gpu: FakeGpu = new FakeGpu();
  scheduler: Scheduler = new Scheduler();

  constructor() {
    beforeEach(() => {
      vi.useFakeTimers({ loopLimit: 1_000_000 });
      this.gpu = new FakeGpu();
    });
    afterEach(async () => {
      this.scheduler.dispose();
      await settle();
      vi.useRealTimers();
    });
  }

  make(options: SchedulerOptions = {}): Scheduler {
    this.scheduler = new Scheduler({
      whenDone: this.gpu.whenDone,
      isLoss: (error) => error instanceof LostError,
      isOutOfMemory: (error) => error instanceof MemoryError,
      ...options,
    });
    return this.scheduler;
  }

  /** Four stages like those of a diffusion model. The card is far from busy at one job: eight take twice as long. */
  pictures(options: { maxBatch?: number; capacity?: number; bytes?: number } = {}): Chain<Work, number> {
    const { maxBatch = 8, capacity = 8, bytes = 1 } = options;
    return chain(fakeStage(this.gpu, { name: 'encode', ms: () => 3 }))
      .to(
        fakeStage(this.gpu, {
          name: 'denoise',
          ms: (jobs) => 40 * (1 + (jobs - 1) / 7),
          steps: ({ steps = 4 }) => steps,
          capacity,
          maxBatch,
          bytes,
        }),
      )
      .to(fakeStage(this.gpu, { name: 'decode', ms: () => 15, capacity: 2 }))
      .to(
        callStage<Held, number>({
          name: 'image',
          place: 'cpu',
          capacity: 2,
          run: async (held) => {
            using input = held;
            await sleep(5);
            return input.work.id;
          },
        }),
      );
  }

  /** Submits a request whose end no test waits for. */
  start(...args: Parameters<Scheduler['submit']>): void {
    this.scheduler.submit(...args).result.catch(() => {});
  }

  /** Ids of the requests that had a denoising step, step by step. */
  get denoised(): number[] {
    return this.gpu.log.flatMap(({ stage, ids }) => (stage === 'denoise' ? ids : []));
  }

  /** Checks that nothing is left of what any request held. */
  expectIdle(): void {
    const idle = { requests: 0, active: 0, heldBytes: 0, inFlight: 0, clients: 0 };
    expect(this.scheduler.stats).toEqual(idle);
    expect([this.gpu.live, this.gpu.bytes]).toEqual([0, 0]);
  }
}
