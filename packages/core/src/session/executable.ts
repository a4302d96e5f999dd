import { CalotypeError, ShapeError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Profiler } from '../gpu/profiler.ts';
import type { Program, RunLaunches } from '../gpu/program.ts';
import type { BufferId, Plan } from '../plan/plan.ts';
import { rawBytes, Tensor } from '../tensor/tensor.ts';
import { checkSize, checkTarget, type Tensors } from './feeds.ts';

/** A program together with the buffers that a session keeps for it: a run of the same shapes creates nothing. */
export class Executable {
  readonly #engine: Engine;
  readonly #program: Program;
  readonly #stableInputs: ReadonlySet<string>;
  /** Where inputs from the CPU are uploaded to. */
  readonly #uploads = new Map<string, GPUBuffer>();
  /** Stable inputs that the request phase has seen. */
  #seen: Map<string, { tensor: Tensor; version: number }> | undefined;

  constructor(engine: Engine, program: Program, stableInputs: ReadonlySet<string>) {
    this.#engine = engine;
    this.#program = program;
    this.#stableInputs = stableInputs;
  }

  get plan(): Plan {
    return this.#program.plan;
  }

  /**
   * Submits one run. The results can be read or used at once; later work waits for them on the GPU.
   *
   * @param options.targets tensors on the GPU to write outputs into; for the others new ones are made
   * @param options.after gets the results
   * @throws ShapeError for a target that does not fit; OutOfMemoryError; DeviceLostError; the signal's reason
   */
  async run(
    feeds: Readonly<Tensors>,
    options: {
      targets?: Readonly<Tensors> | undefined;
      signal?: AbortSignal | undefined;
      profiler?: Profiler | undefined;
      before?: RunLaunches['before'];
      after?: ((results: Tensors) => void) | undefined;
    } = {},
  ): Promise<Tensors> {
    const { targets = {}, signal, profiler, before, after } = options;
    const external = new Map<BufferId, GPUBuffer>();
    const stable = new Map<string, { tensor: Tensor; version: number }>();
    const created: Tensor[] = [];
    try {
      this.#bindInputs(feeds, external, stable);
      const results = this.#bindOutputs(targets, external, created);
      await this.#engine.until(this.#engine.buffers.settled(external.values()), signal);
      const fresh = this.#isFresh(stable);
      // Until the run has gone through, what the request phase left is not to be relied on.
      if (fresh) this.#seen = undefined;
      await this.#program.run(external, {
        signal,
        fresh,
        profiler,
        before,
        after: after && (() => after(results)),
      });
      this.#seen = stable;
      for (const name of Object.keys(targets)) targets[name]!.markChanged();
      return results;
    } catch (error) {
      for (const tensor of created) tensor.dispose();
      throw error;
    }
  }

  /** Makes the next run do the request phase again: weights have changed. */
  forgetRequest(): void {
    this.#seen = undefined;
  }

  #bindInputs(
    feeds: Readonly<Tensors>,
    external: Map<BufferId, GPUBuffer>,
    stable: Map<string, { tensor: Tensor; version: number }>,
  ): void {
    const { plan } = this;
    for (const [name, view] of plan.inputs) {
      const tensor = feeds[name]!;
      const { bytes } = plan.buffers[view.buffer]!;
      const seen = this.#seen?.get(name);
      const unchanged = seen?.tensor === tensor && seen.version === tensor.version;
      if (this.#stableInputs.has(name)) stable.set(name, { tensor, version: tensor.version });
      if (tensor.gpu) {
        checkSize(`input '${name}'`, tensor.gpu.buffer, bytes);
        external.set(view.buffer, tensor.gpu.buffer);
        continue;
      }
      let buffer = this.#uploads.get(name);
      if (!buffer) this.#uploads.set(name, (buffer = this.#engine.buffers.acquire(bytes, name)));
      external.set(view.buffer, buffer);
      if (!unchanged) this.#engine.write(buffer, 0, rawBytes(tensor));
    }
  }

  #bindOutputs(targets: Readonly<Tensors>, external: Map<BufferId, GPUBuffer>, created: Tensor[]): Tensors {
    const { plan } = this;
    for (const name of Object.keys(targets)) {
      if (!plan.outputs.has(name)) {
        throw new ShapeError(`output '${name}'`, {
          expected: `one of ${[...plan.outputs.keys()].map((output) => `'${output}'`).join(', ')}`,
          actual: 'another name',
        });
      }
    }
    const taken = new Set(external.values());
    const results: Tensors = {};
    for (const [name, view] of plan.outputs) {
      const { bytes } = plan.buffers[view.buffer]!;
      const target = targets[name];
      if (target) {
        checkTarget(name, target, view, bytes);
        const { buffer } = target.gpu!;
        if (taken.has(buffer)) {
          throw new CalotypeError(
            `The tensor given for output '${name}' is also an input or another output of this run.`,
          );
        }
        taken.add(buffer);
        external.set(view.buffer, buffer);
        results[name] = target;
        continue;
      }
      const buffer = this.#engine.buffers.acquire(bytes, name);
      const tensor = Tensor.onGpu(this.#engine, view.dtype, view.shape, buffer, view.storage);
      created.push(tensor);
      external.set(view.buffer, buffer);
      results[name] = tensor;
    }
    return results;
  }

  /** Whether a stable input is not the one that the request phase has seen. */
  #isFresh(stable: ReadonlyMap<string, { tensor: Tensor; version: number }>): boolean {
    const seen = this.#seen;
    if (!seen) return true;
    return [...stable].some(([name, { tensor, version }]) => {
      const before = seen.get(name);
      return before?.tensor !== tensor || before.version !== version;
    });
  }

  /** Gives back the program and the input buffers. */
  dispose(): void {
    this.#program.dispose();
    for (const buffer of this.#uploads.values()) this.#engine.buffers.release(buffer);
    this.#uploads.clear();
  }
}
