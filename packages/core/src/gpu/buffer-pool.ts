import { OutOfMemoryError } from '../errors.ts';

/** What every buffer of the pool may be used for. */
const USAGE = (): number => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/**
 * Sole owner of the device's storage buffers. A released buffer is kept and given out again for the same size; when
 * memory runs out, what is kept idle is freed before an allocation fails.
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #limitBytes: number;
  /** Idle buffers by size. */
  readonly #idle = new Map<number, GPUBuffer[]>();
  readonly #live = new Set<GPUBuffer>();
  #pending: Promise<void>[] = [];
  #failure: OutOfMemoryError | undefined;
  #idleBytes = 0;
  /** Bytes of all buffers, idle ones included. */
  bytes = 0;
  /** Largest value that `bytes` has had. */
  peakBytes = 0;
  /** Buffers created since the start; constant over a second run of the same shapes. */
  created = 0;

  /** @param limitBytes budget for all buffers together; allocations beyond it throw */
  constructor(device: GPUDevice, limitBytes: number = Infinity) {
    this.#device = device;
    this.#limitBytes = limitBytes;
  }

  /**
   * A buffer of `bytes` (a multiple of 16), contents undefined. The device reports exhaustion only later: whoever
   * allocates awaits `settled()` before use.
   *
   * @throws OutOfMemoryError when the budget or the device's largest buffer is exceeded
   */
  acquire(bytes: number, label: string): GPUBuffer {
    const idle = this.#idle.get(bytes)?.pop();
    if (idle) {
      this.#idleBytes -= bytes;
      this.#live.add(idle);
      return idle;
    }
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits;
    const largest = Math.min(maxBufferSize, maxStorageBufferBindingSize);
    if (bytes > largest) throw new OutOfMemoryError(`'${label}'`, bytes, largest);
    if (this.bytes + bytes > this.#limitBytes) this.trim();
    if (this.bytes + bytes > this.#limitBytes) {
      throw new OutOfMemoryError(`'${label}'`, bytes, this.#limitBytes - this.bytes);
    }
    this.#device.pushErrorScope('out-of-memory');
    const buffer = this.#device.createBuffer({ label, size: bytes, usage: USAGE() });
    this.#pending.push(
      this.#device.popErrorScope().then(
        (error) => {
          if (error) this.#failure ??= new OutOfMemoryError(`'${label}'`, bytes);
        },
        () => {
          // The device was lost; whoever waits hears of it from there.
        },
      ),
    );
    this.#live.add(buffer);
    this.created++;
    this.bytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
    return buffer;
  }

  /** Resolves when every allocation so far is known to have worked; throws `OutOfMemoryError` for the first that has not. */
  async settled(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    await Promise.all(pending);
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure) throw failure;
  }

  /** Gives a buffer back. Idempotent. */
  release(buffer: GPUBuffer): void {
    if (!this.#live.delete(buffer)) return;
    const { size } = buffer;
    const idle = this.#idle.get(size);
    if (idle) idle.push(buffer);
    else this.#idle.set(size, [buffer]);
    this.#idleBytes += size;
  }

  /** Frees a buffer at once: for large contents that will not come back, such as staged weights. */
  destroy(buffer: GPUBuffer): void {
    if (!this.#live.delete(buffer)) return;
    this.bytes -= buffer.size;
    buffer.destroy();
  }

  /** Bytes that are in use, idle ones not counted. */
  get liveBytes(): number {
    return this.bytes - this.#idleBytes;
  }

  /** Buffers that are in use. */
  get liveBuffers(): number {
    return this.#live.size;
  }

  /** Frees the idle buffers. */
  trim(): void {
    for (const buffers of this.#idle.values()) for (const buffer of buffers) buffer.destroy();
    this.bytes -= this.#idleBytes;
    this.#idleBytes = 0;
    this.#idle.clear();
  }

  dispose(): void {
    this.trim();
    for (const buffer of this.#live) buffer.destroy();
    this.#live.clear();
    this.bytes = 0;
  }
}
