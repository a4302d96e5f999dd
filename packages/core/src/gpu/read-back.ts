import type { Engine } from './engine.ts';

/**
 * Staging buffers kept for the next time, and their bytes. Chromium takes memory for each from the driver and gives it back, which
 * holds the GPU up for a millisecond or more: with four kept, eight requests of Pocket lost 8 % of it (H100, Linux).
 */
const KEPT = 32;
const KEPT_BYTES = 64 * 2 ** 20;

/** The first bytes of a buffer; a multiple of 4. */
export interface ReadPart {
  source: GPUBuffer;
  bytes: number;
}

/** Copies from the GPU to the CPU, through staging buffers that are kept for the next time. */
export class ReadBack {
  readonly #engine: Engine;
  readonly #idle: GPUBuffer[] = [];
  #count = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Read-backs so far. Between the upload of a prompt and its picture there must be none. */
  get count(): number {
    return this.#count;
  }

  /**
   * The first `bytes` bytes of `source` (a multiple of 4), after everything submitted so far. Inside `launches.together` it goes
   * with what is launched there.
   *
   * @throws DeviceLostError, DisposedError, the signal's reason
   */
  async read(source: GPUBuffer, bytes: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.readAll([{ source, bytes }], signal))[0]!;
  }

  /** Parts of several buffers, in one go; see `read`. */
  async readAll(parts: readonly ReadPart[], signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>[]> {
    const engine = this.#engine;
    engine.check();
    signal?.throwIfAborted();
    this.#count++;
    const start = performance.now();
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    const staging = this.#take(bytes);
    let at = 0;
    engine.launches.together(() => {
      for (const part of parts) {
        engine.launches.copy(part.source, 0, staging, at, part.bytes);
        at += part.bytes;
      }
    });
    // It may not be mapped before it is submitted.
    await Promise.resolve();
    try {
      await engine.until(staging.mapAsync(GPUMapMode.READ, 0, bytes), signal);
    } catch (error) {
      staging.destroy();
      throw error;
    }
    const mapped = staging.getMappedRange(0, bytes);
    at = 0;
    const copies = parts.map((part) => new Uint8Array(mapped.slice(at, (at += part.bytes))));
    staging.unmap();
    engine.onTransfer?.({ kind: 'read-back', bytes, start, end: performance.now() });
    this.#idle.push(staging);
    let kept = this.#idle.reduce((sum, { size }) => sum + size, 0);
    while (this.#idle.length > KEPT || (kept > KEPT_BYTES && this.#idle.length > 1)) {
      const oldest = this.#idle.shift()!;
      kept -= oldest.size;
      oldest.destroy();
    }
    // Errors of earlier work arrive as events: what was read may be garbage.
    await nextTask();
    engine.check();
    return copies;
  }

  /** The smallest that is idle and large enough: a word beside a picture leaves the large one to the next picture. */
  #take(bytes: number): GPUBuffer {
    const [fitting] = this.#idle.filter(({ size }) => size >= bytes).toSorted((a, b) => a.size - b.size);
    if (fitting) return this.#idle.splice(this.#idle.indexOf(fitting), 1)[0]!;
    return this.#engine.device.createBuffer({
      label: 'read-back',
      size: bytes,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
  }

  dispose(): void {
    for (const buffer of this.#idle) buffer.destroy();
    this.#idle.length = 0;
  }
}

function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.addEventListener('message', () => {
      port1.close();
      resolve();
    });
    port1.start();
    port2.postMessage(undefined);
  });
}
