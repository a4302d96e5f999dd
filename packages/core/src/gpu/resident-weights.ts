import type { BufferId, Dispatch, Plan } from '../plan/plan.ts';
import { contentKey } from '../plan/content-key.ts';
import type { Engine } from './engine.ts';
import type { PrepareProgress } from './program.ts';
import { WeightUpload } from './weights.ts';

/**
 * What the load phases of a session's plans left on the GPU: packed weights and whatever else depends on weights only.
 * Plans for other shapes share it by content.
 */
export class ResidentWeights {
  readonly #engine: Engine;
  readonly #upload: WeightUpload;
  readonly #resident = new Map<string, { buffer: GPUBuffer; holders: number }>();
  /** Loads run one after the other, so that two plans never compute the same contents twice. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#upload = new WeightUpload(engine);
  }

  /** Bytes that lie on the GPU. */
  get bytes(): number {
    let bytes = 0;
    for (const { buffer } of this.#resident.values()) bytes += buffer.size;
    return bytes;
  }

  /**
   * Makes the load-phase buffers that the plan's later phases read, and keeps them until `release`.
   *
   * @throws what reading and allocating throw; nothing new stays behind then
   */
  hold(
    plan: Plan,
    options: {
      signal?: AbortSignal | undefined;
      onProgress?: ((progress: PrepareProgress) => void) | undefined;
    },
  ): Promise<{ buffers: Map<BufferId, GPUBuffer>; release: () => void }> {
    const turn = this.#queue.then(() => this.#hold(plan, options));
    this.#queue = turn.catch(() => {});
    return turn;
  }

  async #hold(
    plan: Plan,
    options: {
      signal?: AbortSignal | undefined;
      onProgress?: ((progress: PrepareProgress) => void) | undefined;
    },
  ): Promise<{ buffers: Map<BufferId, GPUBuffer>; release: () => void }> {
    const wanted = new Map<BufferId, string>();
    for (const step of plan.steps) {
      if (step.phase === 'load' || step.kind !== 'dispatch') continue;
      for (const id of step.buffers) if (plan.buffers[id]!.phase === 'load') wanted.set(id, keyOf(plan, id));
    }
    const missing = new Set([...wanted].filter(([, key]) => !this.#resident.has(key)).map(([id]) => id));
    if (missing.size > 0) await this.#load(plan, missing, wanted, options);
    const buffers = new Map<BufferId, GPUBuffer>();
    const keys = [...new Set(wanted.values())];
    for (const key of keys) this.#resident.get(key)!.holders++;
    for (const [id, key] of wanted) buffers.set(id, this.#resident.get(key)!.buffer);
    let held = true;
    return {
      buffers,
      release: () => {
        if (!held) return;
        held = false;
        for (const key of keys) this.#letGo(key);
      },
    };
  }

  #letGo(key: string): void {
    const entry = this.#resident.get(key);
    if (!entry || --entry.holders > 0) return;
    this.#resident.delete(key);
    this.#engine.buffers.destroy(entry.buffer);
  }

  async #load(
    plan: Plan,
    missing: ReadonlySet<BufferId>,
    wanted: ReadonlyMap<BufferId, string>,
    options: {
      signal?: AbortSignal | undefined;
      onProgress?: ((progress: PrepareProgress) => void) | undefined;
    },
  ): Promise<void> {
    const engine = this.#engine;
    const { steps, lastUse } = loadSteps(plan, missing);
    const buffers = new Map<BufferId, GPUBuffer>();
    const total = [...lastUse.keys(), ...missing]
      .filter((id, index, all) => all.indexOf(id) === index)
      .reduce(
        (sum, id) => sum + (plan.buffers[id]!.content.kind === 'weight' ? plan.buffers[id]!.bytes : 0),
        0,
      );
    let done = 0;
    const provide = async (id: BufferId): Promise<GPUBuffer> => {
      const known = buffers.get(id);
      if (known) return known;
      const { content, bytes, label } = plan.buffers[id]!;
      const buffer = engine.buffers.acquire(bytes, label);
      buffers.set(id, buffer);
      if (content.kind === 'constant') engine.device.queue.writeBuffer(buffer, 0, content.data);
      if (content.kind === 'weight') {
        await this.#upload.upload(content.ref, buffer, options.signal);
        options.onProgress?.({ stage: 'weights', done: (done += bytes), total });
      }
      return buffer;
    };
    try {
      const pipelines = await Promise.all(
        steps.map((step) => engine.pipelines.get(step.kernel, step.params.byteLength > 0)),
      );
      for (const [index, step] of steps.entries()) {
        options.signal?.throwIfAborted();
        engine.check();
        for (const id of step.buffers) await provide(id);
        this.#dispatch(
          step,
          step.buffers.map((id) => buffers.get(id)!),
          pipelines[index]!,
        );
        for (const id of new Set(step.buffers)) {
          if (lastUse.get(id) !== index || wanted.has(id)) continue;
          // Destroying after submit is safe: WebGPU keeps the memory until the work that uses it is done.
          engine.buffers.destroy(buffers.get(id)!);
          buffers.delete(id);
        }
      }
      for (const id of missing) await provide(id);
      await engine.buffers.settled();
    } catch (error) {
      for (const buffer of buffers.values()) engine.buffers.destroy(buffer);
      throw error;
    }
    for (const [id, buffer] of buffers) {
      const key = wanted.get(id)!;
      if (this.#resident.has(key)) engine.buffers.destroy(buffer);
      else this.#resident.set(key, { buffer, holders: 0 });
    }
  }

  #dispatch(
    step: Dispatch,
    buffers: readonly GPUBuffer[],
    pipeline: { compute: GPUComputePipeline; layout: GPUBindGroupLayout },
  ): void {
    const { device } = this.#engine;
    const resources: GPUBufferBinding[] = buffers.map((buffer) => ({ buffer }));
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
    const pass = encoder.beginComputePass();
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

  /** Frees everything, whoever holds it. */
  dispose(): void {
    for (const { buffer } of this.#resident.values()) this.#engine.buffers.destroy(buffer);
    this.#resident.clear();
  }
}

/** The load steps that lead to `targets`, in order, and the last of them that touches each buffer. */
function loadSteps(
  plan: Plan,
  targets: ReadonlySet<BufferId>,
): { steps: Dispatch[]; lastUse: Map<BufferId, number> } {
  const live = new Set(targets);
  const steps: Dispatch[] = [];
  for (const step of [...plan.steps].reverse()) {
    if (step.phase !== 'load' || step.kind !== 'dispatch') continue;
    const writes = step.buffers.filter((_, i) => step.kernel.bindings[i] === 'write');
    if (!writes.some((id) => live.has(id))) continue;
    for (const id of step.buffers) live.add(id);
    steps.unshift(step);
  }
  const lastUse = new Map<BufferId, number>();
  steps.forEach((step, index) => step.buffers.forEach((id) => lastUse.set(id, index)));
  return { steps, lastUse };
}

function keyOf(plan: Plan, id: BufferId): string {
  const { content, label } = plan.buffers[id]!;
  switch (content.kind) {
    case 'weight':
      return `weight:${label}`;
    case 'constant':
      return `constant:${contentKey([content.data])}:${content.data.byteLength}`;
    case 'computed':
      return `computed:${content.key ?? label}`;
    default:
      throw new Error(`Internal error: '${label}' belongs to no load phase`);
  }
}
