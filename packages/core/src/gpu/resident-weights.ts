import { contentKey, identityOf } from '../plan/content-key.ts';
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

/** Buffers that a program keeps until `release`. */
export interface HeldWeights {
  buffers: ReadonlyMap<BufferId, GPUBuffer>;
  release: () => void;
}

/**
 * What the load phases of a session's plans left on the GPU: packed weights and whatever else depends on weights only.
 * Plans for other shapes share it by content.
 */
export class ResidentWeights {
  readonly #engine: Engine;
  readonly #resident = new Map<string, { buffer: GPUBuffer; holders: number }>();
  /** Loads run one after the other, so that two plans never compute the same contents twice. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Bytes that lie on the GPU. */
  get bytes(): number {
    let bytes = 0;
    for (const { buffer } of this.#resident.values()) bytes += buffer.size;
    return bytes;
  }

  /** Bytes that `hold` would have to add for this plan. */
  missingBytes(plan: Plan): number {
    const keys = new Map([...wantedBy(plan)].map(([id, key]) => [key, plan.buffers[id]!.bytes]));
    return [...keys].reduce((sum, [key, bytes]) => sum + (this.#resident.has(key) ? 0 : bytes), 0);
  }

  /**
   * Makes the load-phase buffers that the plan's later phases read, and keeps them until `release`.
   *
   * @throws what reading and allocating throw; nothing new stays behind then
   */
  hold(plan: Plan, options: LoadOptions): Promise<HeldWeights> {
    const turn = this.#queue.then(() => this.#hold(plan, options));
    this.#queue = turn.catch(() => {});
    return turn;
  }

  async #hold(plan: Plan, options: LoadOptions): Promise<HeldWeights> {
    const wanted = wantedBy(plan);
    const missing = new Map([...wanted].filter(([, key]) => !this.#resident.has(key)));
    if (missing.size > 0) {
      const load = new Load(this.#engine, plan, missing, options);
      for (const [key, buffer] of await load.run()) this.#resident.set(key, { buffer, holders: 0 });
    }
    const keys = new Set(wanted.values());
    for (const key of keys) this.#resident.get(key)!.holders++;
    let held = true;
    return {
      buffers: new Map([...wanted].map(([id, key]) => [id, this.#resident.get(key)!.buffer])),
      release: () => {
        if (held) for (const key of keys) this.#letGo(key);
        held = false;
      },
    };
  }

  #letGo(key: string): void {
    const entry = this.#resident.get(key);
    if (!entry || --entry.holders > 0) return;
    this.#resident.delete(key);
    this.#engine.buffers.destroy(entry.buffer);
  }

  /** Frees everything, whoever holds it. */
  dispose(): void {
    for (const { buffer } of this.#resident.values()) this.#engine.buffers.destroy(buffer);
    this.#resident.clear();
  }
}

/** One run of a plan's load phase, or of that part of it which leads to the buffers that are missing. */
class Load {
  readonly #engine: Engine;
  readonly #plan: Plan;
  readonly #missing: ReadonlyMap<BufferId, string>;
  readonly #options: LoadOptions;
  readonly #steps: Dispatch[];
  /** The last step that touches each buffer. */
  readonly #lastUse = new Map<BufferId, number>();
  readonly #buffers = new Map<BufferId, GPUBuffer>();
  readonly #upload: WeightUpload;

  constructor(engine: Engine, plan: Plan, missing: ReadonlyMap<BufferId, string>, options: LoadOptions) {
    this.#engine = engine;
    this.#plan = plan;
    this.#missing = missing;
    this.#options = options;
    this.#steps = stepsTo(plan, missing);
    this.#steps.forEach((step, index) => step.buffers.forEach((id) => this.#lastUse.set(id, index)));
    const order = new Set([...this.#steps.flatMap((step) => step.buffers), ...missing.keys()]);
    const weights = [...order].flatMap((id) => {
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

  /** Buffers by their key. */
  async run(): Promise<Map<string, GPUBuffer>> {
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
      for (const id of this.#missing.keys()) await this.#provide(id);
      await engine.until(engine.buffers.settled(this.#buffers.values()), this.#options.signal);
    } catch (error) {
      this.#upload.close();
      for (const buffer of this.#buffers.values()) engine.buffers.destroy(buffer);
      throw error;
    }
    const made = new Map<string, GPUBuffer>();
    for (const [id, buffer] of this.#buffers) {
      const key = this.#missing.get(id)!;
      // Two buffers of one plan may have the same contents.
      if (made.has(key)) engine.buffers.destroy(buffer);
      else made.set(key, buffer);
    }
    return made;
  }

  async #provide(id: BufferId): Promise<void> {
    if (this.#buffers.has(id)) return;
    const { content, bytes, label } = this.#plan.buffers[id]!;
    const buffer = this.#engine.buffers.acquire(bytes, label);
    this.#buffers.set(id, buffer);
    if (content.kind === 'constant') this.#engine.device.queue.writeBuffer(buffer, 0, content.data);
    if (content.kind === 'weight') await this.#upload.upload(content.ref, buffer);
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
      if (this.#lastUse.get(id) !== index || this.#missing.has(id)) continue;
      // Destroying after submit is safe: WebGPU keeps the memory until the work that uses it is done.
      this.#engine.buffers.destroy(this.#buffers.get(id)!);
      this.#buffers.delete(id);
    }
  }
}

/** Load-phase buffers that later phases read, with the names of their contents. */
function wantedBy(plan: Plan): Map<BufferId, string> {
  const wanted = new Map<BufferId, string>();
  for (const step of plan.steps) {
    if (step.phase === 'load') continue;
    const used = step.kind === 'dispatch' ? step.buffers : step.inputs.map(({ view }) => view.buffer);
    for (const id of used) if (plan.buffers[id]!.phase === 'load') wanted.set(id, keyOf(plan, id));
  }
  return wanted;
}

/** The load steps that lead to `targets`, in order. */
function stepsTo(plan: Plan, targets: ReadonlyMap<BufferId, string>): Dispatch[] {
  const live = new Set(targets.keys());
  const steps: Dispatch[] = [];
  for (const step of plan.steps.toReversed()) {
    if (step.phase !== 'load' || step.kind !== 'dispatch') continue;
    const writes = step.buffers.filter((_, i) => step.kernel.bindings[i] === 'write');
    if (!writes.some((id) => live.has(id))) continue;
    for (const id of step.buffers) live.add(id);
    steps.push(step);
  }
  return steps.toReversed();
}

function keyOf(plan: Plan, id: BufferId): string {
  const { content, label } = plan.buffers[id]!;
  switch (content.kind) {
    case 'weight':
      return `weight:${identityOf(content.ref)}`;
    case 'constant':
      return `constant:${contentKey([content.data])}:${content.data.byteLength}`;
    case 'computed':
      return `computed:${content.key ?? label}`;
    default:
      throw new Error(`Internal error: '${label}' belongs to no load phase`);
  }
}
