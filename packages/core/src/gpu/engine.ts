import { untilAbort } from '../abort.ts';
import {
  CalotypeError,
  DeviceLostError,
  DisposedError,
  OutOfMemoryError,
  ShaderError,
  UnsupportedDeviceError,
} from '../errors.ts';
import type { KernelTuning } from '../kernels/tuning.ts';
import type { Capabilities, Precision } from '../plan/capabilities.ts';
import { TuningTable } from '../tuning/table.ts';
import { BufferPool } from './buffer-pool.ts';
import { capabilitiesOf, requestDevice } from './device.ts';
import type { GpuClock } from './clock.ts';
import { Launches } from './launches.ts';
import { Pacer } from './pacer.ts';
import type { DispatchTime } from './profiler.ts';
import { PipelineCache } from './pipeline-cache.ts';
import { ReadBack } from './read-back.ts';
import { Residents } from './residents.ts';
import { writePadded } from './write.ts';

/** How long a failed call waits to hear that the device was lost, which browsers report separately. */
const LOSS_GRACE_MS = 100;

export interface EngineOptions {
  /** How activations are stored. Default: `f16` where the device has `shader-f16`, else `packed-f16`. */
  precision?: Precision;
  powerPreference?: GPUPowerPreference;
  /** A device of the caller's. It stays the caller's: `dispose` does not destroy it. */
  device?: GPUDevice;
  /**
   * Most bytes of GPU memory that the engine may hold, above 0. Sessions that were used longest ago give theirs back to
   * keep it; their weights are read again when they run. Can be changed later (`Engine.memoryBudget`). Default: no limit.
   */
  memoryBudget?: number;
  /** Whether to begin with what `tune` measured on earlier visits. True by default. */
  measured?: boolean;
}

/** What the GPU did in one run of a session. */
export interface RunTimes {
  /** `performance.now()` when the run was submitted. */
  submitted: number;
  dispatches: readonly DispatchTime[];
}

/** Bytes that went to the device, or came from it. */
export interface Transfer {
  kind: 'upload' | 'read-back';
  bytes: number;
  /** `performance.now()`. An upload ends when the browser has taken the bytes, a read-back when they are there. */
  start: number;
  end: number;
}

/** A GPU device with its memory, compiled kernels and counters. Sessions run on one. */
export class Engine {
  readonly device: GPUDevice;
  readonly capabilities: Capabilities;
  readonly precision: Precision;
  readonly buffers: BufferPool;
  /** The sessions, which give memory back when it runs out. */
  readonly residents: Residents = new Residents();
  readonly pipelines: PipelineCache;
  readonly readBack: ReadBack;
  /** Dispatches of custom kernels. */
  readonly launches: Launches;
  /** @internal How far runs with a signal are ahead of the GPU, all sessions together. */
  readonly pacer: Pacer = new Pacer(() => this.gpuShare);
  /** What was measured on such a device, now or on an earlier visit (`tune`). */
  readonly measured: TuningTable = new TuningTable();
  /** What plans made from now on take in place of the kernels' own rules. */
  tuning: KernelTuning = this.measured;
  /** Resolves when the device is lost, with what every call throws from then on. */
  readonly lost: Promise<DeviceLostError>;
  /**
   * Part of the time that runs with a signal may keep the GPU busy, above 0 and at most 1. Below 1 they do so for 10 ms at a
   * time and let it rest in between, so that whatever else uses the GPU (a page's frames) gets its turn.
   */
  gpuShare = 1;
  /**
   * While it is set, the GPU's time is taken for every dispatch of every run, which makes runs slower, and told some time
   * after each. Needs `timestamp-query`; without, nothing is told.
   */
  onDispatches: ((run: RunTimes) => void) | undefined;
  /** Runs whose times are on their way to `onDispatches`. */
  readonly timed: Set<Promise<void>> = new Set();
  /** Hears of what is uploaded and read back while it is set. */
  onTransfer: ((transfer: Transfer) => void) | undefined;
  /** Takes the times of all that is submitted while it is set. Needs `timestamp-query`. */
  clock: GpuClock | undefined;
  readonly #ownsDevice: boolean;
  /** Why nothing can run here any more. */
  #end: DeviceLostError | DisposedError | undefined;
  /** What the browser reported outside of any call: memory that ran out, or a mistake of ours. */
  #fault: Error | undefined;
  /** Failures that were no device loss. */
  readonly #heardOf = new WeakSet<Error>();
  /** Rejects what `until` waits for. */
  readonly #waiting = new Set<(error: Error) => void>();

  private constructor(device: GPUDevice, capabilities: Capabilities, options: EngineOptions) {
    this.device = device;
    this.capabilities = capabilities;
    this.precision = options.precision ?? (capabilities.features.shaderF16 ? 'f16' : 'packed-f16');
    this.buffers = new BufferPool(device, options.memoryBudget, () => this.residents.evictOne());
    this.pipelines = new PipelineCache(device);
    this.readBack = new ReadBack(this);
    this.launches = new Launches(this);
    this.#ownsDevice = options.device === undefined;
    this.lost = device.lost.then((info) => {
      const error = new DeviceLostError(info.reason, info.message);
      this.#stop(error);
      return error;
    });
    // On a device of the caller's, errors may be of the caller's making.
    if (this.#ownsDevice) {
      device.addEventListener('uncapturederror', ({ error }) => {
        this.#fault ??=
          'GPUOutOfMemoryError' in globalThis && error instanceof GPUOutOfMemoryError
            ? new OutOfMemoryError('an operation of the device', NaN)
            : new Error(`Internal error: WebGPU refused a call. ${error.message}`);
      });
    }
  }

  /**
   * @throws UnsupportedDeviceError without WebGPU, or when `precision: 'f16'` is asked for and `shader-f16` is missing;
   *   RangeError for a `memoryBudget` that is none
   */
  static async create(options: EngineOptions = {}): Promise<Engine> {
    const { device, capabilities } = options.device
      ? { device: options.device, capabilities: capabilitiesOf(options.device) }
      : await requestDevice(options);
    try {
      if (options.precision) checkPrecision(options.precision, capabilities);
      if (options.memoryBudget !== undefined) checkBudget(options.memoryBudget);
    } catch (error) {
      if (!options.device) device.destroy();
      throw error;
    }
    const engine = new Engine(device, capabilities, options);
    // A table that cannot be read is none: the rules know a choice for everything.
    if (options.measured ?? true) await engine.measured.load(capabilities).catch(() => {});
    return engine;
  }

  /**
   * Most bytes of GPU memory to hold; `Infinity` for no limit. When it is lowered, sessions that are idle give theirs back
   * until it is kept, and what is in use counts from the next allocation on: that throws `OutOfMemoryError` until enough
   * has come back. Setting it throws `RangeError` for what is not above 0.
   */
  get memoryBudget(): number {
    return this.buffers.limitBytes;
  }

  set memoryBudget(bytes: number) {
    checkBudget(bytes);
    this.buffers.limitBytes = bytes;
    this.buffers.makeRoom(0);
  }

  /** Milliseconds so far that runs were kept from the GPU for `gpuShare`. */
  get restedMs(): number {
    return this.pacer.restedMs;
  }

  /** Throws `DisposedError` or `DeviceLostError` when nothing can run here any more. */
  check(): void {
    if (this.#end) throw this.#end;
    const fault = this.#fault;
    this.#fault = undefined;
    if (fault) throw fault;
  }

  /**
   * `promise`, or a rejection as soon as the signal aborts, the device is lost or the engine disposed: then what the
   * device promised may never come.
   */
  until<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
    const guarded = new Promise<T>((resolve, reject) => {
      if (this.#end) {
        promise.catch(() => {});
        reject(this.#end);
        return;
      }
      const settle = (error: Error): void => reject(error);
      this.#waiting.add(settle);
      promise
        .then(resolve, async (error: unknown) => {
          await this.#lossBehind(error);
          reject(this.#end ?? error);
        })
        .finally(() => this.#waiting.delete(settle));
    });
    return untilAbort(guarded, signal);
  }

  /** Uploads bytes. `offset` is a multiple of four; where their number is not, what follows in the last word becomes zero. */
  write(buffer: GPUBuffer, offset: number, data: ArrayBufferView<ArrayBuffer>): void {
    const start = performance.now();
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    writePadded(this.device.queue, buffer, offset, bytes);
    this.onTransfer?.({ kind: 'upload', bytes: data.byteLength, start, end: performance.now() });
  }

  /** Frees everything on the GPU, whoever still holds tensors. Idempotent. */
  dispose(): void {
    if (this.#end instanceof DisposedError) return;
    this.#stop(new DisposedError('The engine'));
    this.readBack.dispose();
    this.buffers.dispose();
    if (this.#ownsDevice) this.device.destroy();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Waits a little for the news that the device was lost, if that may be what made a call fail. */
  async #lossBehind(error: unknown): Promise<void> {
    const isOurs = error instanceof CalotypeError && !(error instanceof ShaderError);
    if (isOurs || !(error instanceof Error) || this.#heardOf.has(error)) return;
    this.#heardOf.add(error);
    await Promise.race([this.lost, sleep(LOSS_GRACE_MS)]);
  }

  #stop(error: DeviceLostError | DisposedError): void {
    // A device is lost by its engine's dispose too; that is no news.
    if (!(this.#end instanceof DisposedError)) this.#end = error;
    for (const reject of this.#waiting) reject(this.#end);
    this.#waiting.clear();
  }
}

/** @throws UnsupportedDeviceError */
export function checkPrecision(precision: Precision, { features }: Capabilities): void {
  if (precision !== 'f16' || features.shaderF16) return;
  throw new UnsupportedDeviceError(
    "This adapter has no 'shader-f16'. Use precision 'packed-f16', which stores f16 and computes in f32.",
    'shader-f16',
  );
}

function checkBudget(bytes: number): void {
  if (!(bytes > 0)) throw new RangeError(`memoryBudget: expected bytes above 0, got ${bytes}.`);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
