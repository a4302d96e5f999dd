import { DeviceLostError, DisposedError, UnsupportedDeviceError } from '../errors.ts';
import type { Capabilities, Precision } from '../plan/capabilities.ts';
import { BufferPool } from './buffer-pool.ts';
import { capabilitiesOf, requestDevice } from './device.ts';
import { PipelineCache } from './pipeline-cache.ts';
import { ReadBack } from './read-back.ts';

export interface EngineOptions {
  /** How activations are stored. Default: `f16` where the device has `shader-f16`, else `packed-f16`. */
  precision?: Precision;
  powerPreference?: GPUPowerPreference;
  /** A device of the caller's. It stays the caller's: `dispose` does not destroy it. */
  device?: GPUDevice;
  /** Most bytes of GPU memory that the engine may hold. */
  memoryBudget?: number;
}

/** A GPU device with its memory, compiled kernels and counters. Sessions run on one. */
export class Engine {
  readonly device: GPUDevice;
  readonly capabilities: Capabilities;
  readonly precision: Precision;
  readonly buffers: BufferPool;
  readonly pipelines: PipelineCache;
  readonly readBack: ReadBack;
  readonly #ownsDevice: boolean;
  #lost: DeviceLostError | undefined;
  #disposed = false;

  private constructor(device: GPUDevice, capabilities: Capabilities, options: EngineOptions) {
    this.device = device;
    this.capabilities = capabilities;
    this.precision = options.precision ?? (capabilities.features.shaderF16 ? 'f16' : 'packed-f16');
    this.buffers = new BufferPool(device, options.memoryBudget);
    this.pipelines = new PipelineCache(device);
    this.readBack = new ReadBack(device);
    this.#ownsDevice = options.device === undefined;
    void device.lost.then((info) => {
      this.#lost = new DeviceLostError(info.reason, info.message);
    });
  }

  /** @throws UnsupportedDeviceError without WebGPU, or when `precision: 'f16'` is asked for and `shader-f16` is missing */
  static async create(options: EngineOptions = {}): Promise<Engine> {
    const { device, capabilities } = options.device
      ? { device: options.device, capabilities: capabilitiesOf(options.device) }
      : await requestDevice(options);
    if (options.precision === 'f16' && !capabilities.features.shaderF16) {
      if (!options.device) device.destroy();
      throw new UnsupportedDeviceError(
        "This adapter has no 'shader-f16'. Use precision 'packed-f16', which stores f16 and computes in f32.",
        'shader-f16',
      );
    }
    return new Engine(device, capabilities, options);
  }

  /** Throws `DisposedError` or `DeviceLostError` when nothing can run here any more. */
  check(): void {
    if (this.#disposed) throw new DisposedError('The engine');
    if (this.#lost) throw this.#lost;
  }

  /** Frees everything on the GPU, whoever still holds tensors. Idempotent. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.readBack.dispose();
    this.buffers.dispose();
    if (this.#ownsDevice) this.device.destroy();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
