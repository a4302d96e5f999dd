import { UnsupportedDeviceError } from '../errors.ts';
import type { Dispatch, Work } from '../plan/plan.ts';
import type { Engine } from './engine.ts';

/** GPU time of one dispatch, or of one island run by onnxruntime-web. */
export interface DispatchTime extends Work {
  /** Node it serves. */
  label: string;
  kernel: string;
  /** Browsers round timestamps to 100 µs unless told otherwise (Chromium: `--enable-webgpu-developer-features`). */
  microseconds: number;
  /** From the start of the run's first dispatch to that of this one; `undefined` for islands, which another clock times. */
  startMicroseconds: number | undefined;
}

/** Queries of one set: WebGPU allows 4,096. */
const MOST_QUERIES = 4096;

/** Times every dispatch of a run. Each gets a pass of its own, so that work does not overlap. */
export class Profiler {
  readonly #engine: Engine;
  readonly #chunks: { set: GPUQuerySet; resolved: GPUBuffer; steps: readonly Dispatch[] }[] = [];
  readonly #islands: { after: number; time: DispatchTime }[] = [];

  /** Dispatches that one `begin` may time. */
  static readonly most: number = MOST_QUERIES / 2;

  /** @throws UnsupportedDeviceError without `timestamp-query` */
  constructor(engine: Engine) {
    this.#engine = engine;
    if (engine.capabilities.features.timestampQuery) return;
    throw new UnsupportedDeviceError(
      "This adapter has no 'timestamp-query' to take times with.",
      'timestamp-query',
    );
  }

  /** Starts a command buffer of these steps; the result gives the `timestampWrites` of each. */
  begin(steps: readonly Dispatch[]): (index: number) => GPUComputePassTimestampWrites {
    const { device } = this.#engine;
    const count = steps.length * 2;
    const set = device.createQuerySet({ type: 'timestamp', count });
    const resolved = device.createBuffer({
      label: 'timestamps',
      size: count * 8,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    this.#chunks.push({ set, resolved, steps });
    return (index) => ({
      querySet: set,
      beginningOfPassWriteIndex: 2 * index,
      endOfPassWriteIndex: 2 * index + 1,
    });
  }

  /** Ends what `begin` started. */
  end(encoder: GPUCommandEncoder): void {
    const { set, resolved } = this.#chunks.at(-1)!;
    encoder.resolveQuerySet(set, 0, set.count, resolved, 0);
  }

  /** Notes the wall time of an island. */
  island(label: string, microseconds: number): void {
    const time = {
      label,
      kernel: 'onnxruntime',
      microseconds,
      startMicroseconds: undefined,
      flops: 0,
      bytes: 0,
    };
    this.#islands.push({ after: this.#chunks.length, time });
  }

  /** The times, in the order of the run. */
  async results(): Promise<DispatchTime[]> {
    const times: DispatchTime[] = [];
    let first: bigint | undefined;
    const addIslands = (after: number): void => {
      for (const island of this.#islands) if (island.after === after) times.push(island.time);
    };
    try {
      for (const [chunk, { resolved, steps }] of this.#chunks.entries()) {
        addIslands(chunk);
        const bytes = await this.#engine.readBack.read(resolved, resolved.size);
        const ticks = new BigUint64Array(bytes.buffer);
        steps.forEach(({ label, kernel, work }, i) => {
          const [start, end] = [ticks[2 * i]!, ticks[2 * i + 1]!];
          first ??= start;
          const microseconds = Number(end - start) / 1000;
          const startMicroseconds = Number(start - first) / 1000;
          times.push({ label, kernel: kernel.name, microseconds, startMicroseconds, ...work });
        });
      }
      addIslands(this.#chunks.length);
    } finally {
      this.dispose();
    }
    return times;
  }

  dispose(): void {
    for (const { set, resolved } of this.#chunks) {
      set.destroy();
      resolved.destroy();
    }
    this.#chunks.length = 0;
  }
}
