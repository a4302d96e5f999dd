import { OutOfMemoryError } from '../errors.ts';

/** What buffers of the pool may be used for: as tensors, or as the parameters of kernels. */
const usages = {
  storage: (): number => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  uniform: (): number => GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
};

/**
 * Sole owner of the device's storage and uniform buffers. A released buffer is kept and given out again for the same
 * size; when memory runs out, what is kept idle is freed before an allocation fails.
 */
export class BufferPool {
  /**
   * Most bytes that all buffers together may take. May be lowered below what they take: then nothing new is given out
   * until enough has come back.
   */
  limitBytes: number;
  readonly #device: GPUDevice;
  readonly #reclaim: () => boolean;
  /** Idle buffers by use and size. */
  readonly #idle = new Map<string, GPUBuffer[]>();
  readonly #live = new Set<GPUBuffer>();
  /** Allocations that the device has not answered for yet. */
  readonly #pending = new Map<GPUBuffer, Promise<void>>();
  /** Buffers that the device refused, until whoever has them hears of it. */
  readonly #refused = new Map<GPUBuffer, OutOfMemoryError>();
  #idleBytes = 0;
  #bytes = 0;
  #peakBytes = 0;
  #created = 0;

  /**
   * @param limitBytes budget for all buffers together; allocations beyond it throw
   * @param reclaim makes somebody give buffers back; false where nobody can
   */
  constructor(device: GPUDevice, limitBytes: number = Infinity, reclaim: () => boolean = () => false) {
    this.#device = device;
    this.limitBytes = limitBytes;
    this.#reclaim = reclaim;
  }

  /** Makes room for `bytes` under the budget, as far as others can give memory back. Whether there is room. */
  makeRoom(bytes: number): boolean {
    do {
      if (this.liveBytes + bytes <= this.limitBytes) {
        if (this.#bytes + bytes > this.limitBytes) this.trim();
        return true;
      }
    } while (this.#reclaim());
    return false;
  }

  /** What to throw where `makeRoom` makes none. */
  noRoom(what: string, bytes: number): OutOfMemoryError {
    const available = Math.max(0, this.limitBytes - this.liveBytes);
    return new OutOfMemoryError(what, bytes, available, this.limitBytes);
  }

  /** Bytes of all buffers, idle ones included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Largest value that `bytes` has had. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Buffers created since the start; constant over a second run of the same shapes. */
  get created(): number {
    return this.#created;
  }

  /** Bytes that are in use, idle ones not counted. */
  get liveBytes(): number {
    return this.#bytes - this.#idleBytes;
  }

  /** Buffers that are in use. */
  get liveBuffers(): number {
    return this.#live.size;
  }

  /**
   * A buffer of `bytes` (a multiple of 16), contents undefined. The device reports exhaustion only later: whoever
   * allocates awaits `settled()` before use.
   *
   * @throws OutOfMemoryError when the budget or the device's largest buffer is exceeded
   */
  acquire(bytes: number, label: string, use: keyof typeof usages = 'storage'): GPUBuffer {
    const usage = usages[use]();
    // Over a limit that was lowered, idle buffers are to go.
    const isWithin = this.#bytes <= this.limitBytes;
    const idle = isWithin ? this.#idle.get(keyOf({ size: bytes, usage }))?.pop() : undefined;
    if (idle) {
      this.#idleBytes -= bytes;
      this.#live.add(idle);
      return idle;
    }
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits;
    const largest = Math.min(maxBufferSize, maxStorageBufferBindingSize);
    if (bytes > largest) throw new OutOfMemoryError(`'${label}'`, bytes, largest);
    if (!this.makeRoom(bytes)) throw this.noRoom(`'${label}'`, bytes);
    this.#device.pushErrorScope('out-of-memory');
    const buffer = this.#device.createBuffer({ label, size: bytes, usage });
    // A lost device rejects; whoever waits hears of that from the engine.
    const answer = this.#device.popErrorScope().catch(() => null);
    this.#pending.set(
      buffer,
      answer.then((error) => {
        this.#pending.delete(buffer);
        if (error && this.#discard(buffer)) {
          this.#refused.set(buffer, new OutOfMemoryError(`'${label}'`, bytes));
        }
      }),
    );
    this.#live.add(buffer);
    this.#created++;
    this.#bytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#bytes);
    return buffer;
  }

  /**
   * Resolves when the device has answered for these buffers (all, where none are named).
   *
   * @throws OutOfMemoryError for the first that it refused; refused buffers are gone from the pool
   */
  async settled(buffers?: Iterable<GPUBuffer>): Promise<void> {
    const wanted = buffers ? [...buffers] : [...this.#pending.keys(), ...this.#refused.keys()];
    const answers = wanted.flatMap((buffer) => this.#pending.get(buffer) ?? []);
    if (answers.length > 0) await Promise.all(answers);
    let failure: OutOfMemoryError | undefined;
    for (const buffer of wanted) {
      failure ??= this.#refused.get(buffer);
      this.#refused.delete(buffer);
    }
    if (failure) throw failure;
  }

  /** Gives a buffer back. Idempotent. */
  release(buffer: GPUBuffer): void {
    this.#refused.delete(buffer);
    if (!this.#live.delete(buffer)) return;
    const key = keyOf(buffer);
    const idle = this.#idle.get(key);
    if (idle) idle.push(buffer);
    else this.#idle.set(key, [buffer]);
    this.#idleBytes += buffer.size;
  }

  /**
   * Frees a buffer: for large contents that will not come back, such as staged weights. Work that was submitted
   * before still sees them.
   */
  destroy(buffer: GPUBuffer): void {
    this.#refused.delete(buffer);
    if (!this.#live.delete(buffer)) return;
    this.#bytes -= buffer.size;
    buffer.destroy();
  }

  /** Frees the idle buffers. */
  trim(): void {
    for (const buffers of this.#idle.values()) for (const buffer of buffers) buffer.destroy();
    this.#bytes -= this.#idleBytes;
    this.#idleBytes = 0;
    this.#idle.clear();
  }

  dispose(): void {
    this.trim();
    for (const buffer of this.#live) buffer.destroy();
    this.#live.clear();
    this.#bytes = 0;
  }

  /** Forgets a buffer that the device refused. Whether somebody still has it. */
  #discard(buffer: GPUBuffer): boolean {
    const isLive = this.#live.delete(buffer);
    if (!isLive) {
      const idle = this.#idle.get(keyOf(buffer));
      const index = idle?.indexOf(buffer) ?? -1;
      if (index < 0) return false;
      idle!.splice(index, 1);
      this.#idleBytes -= buffer.size;
    }
    this.#bytes -= buffer.size;
    return isLive;
  }
}

function keyOf({ size, usage }: { size: number; usage: number }): string {
  return `${usage}:${size}`;
}
