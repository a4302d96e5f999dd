import { NumericError } from '../errors.ts';
import { CustomKernel } from '../gpu/custom-kernel.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Storage } from '../plan/plan.ts';
import { isFloat } from '../tensor/dtype.ts';
import { sizeOf } from '../tensor/shape.ts';
import source from './numerics.wgsl';
import type { Tensors } from './feeds.ts';

/** Looks for NaN and infinities in results. */
export class NumericCheck {
  readonly #engine: Engine;
  readonly #kernels = new Map<Storage, Promise<CustomKernel>>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Waits for the run that gave these tensors. Throws `NumericError` for the first that holds NaN or infinities. */
  async check(results: Readonly<Tensors>): Promise<void> {
    const engine = this.#engine;
    const found = engine.buffers.acquire(16, 'numeric check');
    try {
      await engine.buffers.settled([found]);
      for (const [name, { dtype, shape, gpu }] of Object.entries(results)) {
        if (!gpu || !isFloat(dtype) || sizeOf(shape) === 0) continue;
        const kernel = await this.#kernel(gpu.storage);
        kernel.run({ x: gpu.buffer, found }, { elements: sizeOf(shape) }, 1);
        const [bad] = new Uint32Array((await engine.readBack.read(found, 16)).buffer);
        if (bad) {
          throw new NumericError(
            name,
            "Weights or inputs may hold such already; with f16 storage try precision 'f32'.",
          );
        }
      }
    } finally {
      engine.buffers.release(found);
    }
  }

  #kernel(storage: Storage): Promise<CustomKernel> {
    const known = this.#kernels.get(storage);
    if (known) return known;
    const made = CustomKernel.create(this.#engine, {
      name: `numeric_check_${storage}`,
      body: source,
      inputs: { x: storage },
      outputs: { found: 'u32' },
      params: { elements: 'u32' },
    });
    this.#kernels.set(storage, made);
    return made;
  }

  dispose(): void {
    for (const kernel of this.#kernels.values()) void kernel.then((made) => made.dispose()).catch(() => {});
  }
}
