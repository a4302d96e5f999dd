import type { TensorRef } from '../onnx/model.ts';
import { loadOrder } from '../plan/load-order.ts';
import type { BufferId, Dispatch, Plan } from '../plan/plan.ts';
import type { Engine } from './engine.ts';
import type { Pipeline } from './pipeline-cache.ts';
import { WeightUpload } from './weights.ts';

export interface PrepareProgress {
  /** `compile` counts kernels, `weights` bytes. */
  stage: 'compile' | 'weights';
  done: number;
  total: number;
}

export interface LoadOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: PrepareProgress) => void) | undefined;
}

/** Changes the bytes of a weight on their way from the file: writes to `to` what it makes of `from`. */
export type WeightChange = (
  buffers: { from: GPUBuffer; to: GPUBuffer },
  signal: AbortSignal | undefined,
) => Promise<void>;

/** One run of a plan's load phase, or of that part of it which leads to some of its buffers. */
export class Load {
  readonly #engine: Engine;
  readonly #plan: Plan;
  readonly #targets: ReadonlyMap<BufferId, GPUBuffer | undefined>;
  readonly #changeOf: (ref: TensorRef) => WeightChange | undefined;
  readonly #options: LoadOptions;
  readonly #steps: Dispatch[];
  /** The last step that touches each buffer. */
  readonly #lastUse: ReadonlyMap<BufferId, number>;
  readonly #buffers = new Map<BufferId, GPUBuffer>();
  readonly #upload: WeightUpload;

  /** @param targets buffers of the plan to make: anew, or where a buffer is given, in that one */
  constructor(
    engine: Engine,
    plan: Plan,
    targets: ReadonlyMap<BufferId, GPUBuffer | undefined>,
    changeOf: (ref: TensorRef) => WeightChange | undefined,
    options: LoadOptions,
  ) {
    this.#engine = engine;
    this.#plan = plan;
    this.#targets = targets;
    this.#changeOf = changeOf;
    this.#options = options;
    const { steps, lastUse, buffers } = loadOrder(plan, new Set(targets.keys()));
    this.#steps = steps;
    this.#lastUse = lastUse;
    const weights = buffers.flatMap((id) => {
      const { content, bytes } = plan.buffers[id]!;
      return content.kind === 'weight' ? [{ ref: content.ref, bytes }] : [];
    });
    const total = weights.reduce((sum, { bytes }) => sum + bytes, 0);
    let done = 0;
    this.#upload = new WeightUpload(
      engine,
      weights.map(({ ref }) => ref),
      {
        signal: options.signal,
        // Padding makes buffers a little larger than what is read for them.
        onBytes: (bytes) =>
          options.onProgress?.({ stage: 'weights', done: Math.min((done += bytes), total), total }),
      },
    );
  }

  /** The targets. What was given stays as it was only in part when this throws; nothing new stays behind then. */
  async run(): Promise<ReadonlyMap<BufferId, GPUBuffer>> {
    const engine = this.#engine;
    try {
      const compiling = this.#steps.map((step) =>
        engine.pipelines.get(step.kernel, step.params.byteLength > 0),
      );
      const pipelines = await engine.until(Promise.all(compiling), this.#options.signal);
      for (const [index, step] of this.#steps.entries()) {
        this.#options.signal?.throwIfAborted();
        engine.check();
        for (const id of step.buffers) await this.#provide(id);
        this.#dispatch(step, pipelines[index]!);
        this.#freeAfter(step, index);
      }
      for (const id of this.#targets.keys()) await this.#provide(id);
      await engine.until(engine.buffers.settled(this.#buffers.values()), this.#options.signal);
      return this.#buffers;
    } catch (error) {
      this.#upload.close();
      for (const id of this.#buffers.keys()) this.#free(id);
      throw error;
    }
  }

  async #provide(id: BufferId): Promise<void> {
    if (this.#buffers.has(id)) return;
    const { content, bytes, label } = this.#plan.buffers[id]!;
    const { buffers, device } = this.#engine;
    const buffer = this.#targets.get(id) ?? buffers.acquire(bytes, label);
    this.#buffers.set(id, buffer);
    if (content.kind === 'constant') device.queue.writeBuffer(buffer, 0, content.data);
    if (content.kind !== 'weight') return;
    const change = this.#changeOf(content.ref);
    if (!change) {
      await this.#upload.upload(content.ref, buffer);
      return;
    }
    const file = buffers.acquire(bytes, label);
    try {
      await this.#upload.upload(content.ref, file);
      await change({ from: file, to: buffer }, this.#options.signal);
    } finally {
      buffers.destroy(file);
    }
  }

  #dispatch(step: Dispatch, pipeline: Pipeline): void {
    const { device } = this.#engine;
    const resources: GPUBufferBinding[] = step.buffers.map((id) => ({ buffer: this.#buffers.get(id)! }));
    let uniform: GPUBuffer | undefined;
    if (step.params.byteLength > 0) {
      uniform = device.createBuffer({
        label: step.label,
        size: step.params.byteLength,
        usage: GPUBufferUsage.UNIFORM,
        mappedAtCreation: true,
      });
      new Uint8Array(uniform.getMappedRange()).set(step.params);
      uniform.unmap();
      resources.push({ buffer: uniform });
    }
    const encoder = device.createCommandEncoder({ label: 'load' });
    const pass = encoder.beginComputePass({ label: step.label });
    pass.setPipeline(pipeline.compute);
    pass.setBindGroup(
      0,
      device.createBindGroup({
        label: step.label,
        layout: pipeline.layout,
        entries: resources.map((resource, binding) => ({ binding, resource })),
      }),
    );
    pass.dispatchWorkgroups(...step.grid);
    pass.end();
    device.queue.submit([encoder.finish()]);
    uniform?.destroy();
  }

  #freeAfter(step: Dispatch, index: number): void {
    for (const id of new Set(step.buffers)) {
      if (this.#lastUse.get(id) === index && !this.#targets.has(id)) this.#free(id);
    }
  }

  /** Destroying after submit is safe: WebGPU keeps the memory until the work that uses it is done. */
  #free(id: BufferId): void {
    if (!this.#targets.get(id)) this.#engine.buffers.destroy(this.#buffers.get(id)!);
    this.#buffers.delete(id);
  }
}

/** Load-phase buffers whose contents follow from any of these constants. */
export function dependents(plan: Plan, refs: ReadonlySet<TensorRef>): Set<BufferId> {
  const found = new Set<BufferId>();
  plan.buffers.forEach(({ content }, id) => {
    if (content.kind === 'weight' && refs.has(content.ref)) found.add(id);
  });
  for (const step of plan.steps) {
    if (step.phase !== 'load' || step.kind !== 'dispatch') continue;
    if (!step.buffers.some((id) => found.has(id))) continue;
    step.buffers.forEach((id, i) => {
      if (step.kernel.bindings[i] === 'write') found.add(id);
    });
  }
  return found;
}
