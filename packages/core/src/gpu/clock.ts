import type { Engine } from './engine.ts';

/** Passes that one set of queries times: WebGPU allows 4,096 queries a set. */
const PASSES = 1024;

/** When the GPU was at something, in milliseconds of `performance.now()`. */
export interface GpuInterval {
  start: number;
  end: number;
}

interface Chunk {
  set: GPUQuerySet;
  resolved: GPUBuffer;
  /** `performance.now()` before each pass was submitted. */
  submitted: number[];
}

/**
 * Takes the times at which the GPU begins and ends every pass while it is `engine.clock`: one pass a command buffer, so this
 * slows nothing down, and tells when the GPU really had work. Needs `timestamp-query`.
 */
export class GpuClock {
  readonly #engine: Engine;
  readonly #chunks: Chunk[] = [];
  /** What brings the GPU's time to this thread's: the most that is known so far, from a pass that did not have to wait. */
  #offset = -Infinity;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** What the next pass writes its times to. */
  next(): GPUComputePassDescriptor {
    let chunk = this.#chunks.at(-1);
    if (!chunk || chunk.submitted.length === PASSES) this.#chunks.push((chunk = this.#chunk()));
    const index = chunk.submitted.push(performance.now()) - 1;
    return {
      timestampWrites: {
        querySet: chunk.set,
        beginningOfPassWriteIndex: 2 * index,
        endOfPassWriteIndex: 2 * index + 1,
      },
    };
  }

  /**
   * The passes since the last call, after waiting for them. The GPU's own clock is brought to this thread's by what is known
   * of both: no pass begins before it is submitted.
   *
   * @throws DeviceLostError, DisposedError
   */
  async take(): Promise<GpuInterval[]> {
    const chunks = this.#chunks.splice(0);
    const intervals: GpuInterval[] = [];
    try {
      for (const { set, resolved, submitted } of chunks) {
        const { device, readBack } = this.#engine;
        const encoder = device.createCommandEncoder({ label: 'clock' });
        encoder.resolveQuerySet(set, 0, submitted.length * 2, resolved, 0);
        device.queue.submit([encoder.finish()]);
        const bytes = await readBack.read(resolved, submitted.length * 16);
        const ticks = new BigUint64Array(bytes.buffer);
        for (const [i, at] of submitted.entries()) {
          const [start, end] = [Number(ticks[2 * i]!) / 1e6, Number(ticks[2 * i + 1]!) / 1e6];
          // Of a pass that never ran, or whose clock was set back.
          if (start === 0 || end < start) continue;
          this.#offset = Math.max(this.#offset, at - start);
          intervals.push({ start, end });
        }
      }
    } finally {
      for (const chunk of chunks) free(chunk);
    }
    return intervals.map(({ start, end }) => ({ start: start + this.#offset, end: end + this.#offset }));
  }

  dispose(): void {
    for (const chunk of this.#chunks.splice(0)) free(chunk);
  }

  #chunk(): Chunk {
    const { device } = this.#engine;
    return {
      set: device.createQuerySet({ type: 'timestamp', count: 2 * PASSES }),
      resolved: device.createBuffer({
        label: 'clock',
        size: PASSES * 16,
        usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
      }),
      submitted: [],
    };
  }
}

function free({ set, resolved }: Chunk): void {
  set.destroy();
  resolved.destroy();
}
