import type { BufferId, Dispatch, Plan, PlanBuffer } from '../plan/plan.ts';
import type { Engine } from './engine.ts';
import type { Pipeline } from './pipeline-cache.ts';
import type { ResidentWeights } from './resident-weights.ts';

/** Uniform blocks lie at multiples of this in one buffer (WebGPU's default minUniformBufferOffsetAlignment). */
const UNIFORM_STRIDE = 256;

/** Dispatches per command buffer when a run can be interrupted: small enough that stopping takes few milliseconds. */
const INTERRUPTIBLE_DISPATCHES = 48;

/** Command buffers submitted ahead of the GPU when a run can be interrupted. */
const SUBMITTED_AHEAD = 2;

export interface PrepareProgress {
  stage: 'compile' | 'weights';
  done: number;
  total: number;
}

/**
 * A plan made real on a device: pipelines compiled, weights resident, intermediates and uniforms allocated, bind groups
 * made. Running it again creates nothing.
 */
export class Program {
  readonly plan: Plan;
  readonly #engine: Engine;
  /** GPU buffers by plan id; inputs and outputs change with every run. */
  readonly #buffers: (GPUBuffer | undefined)[];
  readonly #own: GPUBuffer[] = [];
  readonly #uniforms: GPUBuffer | undefined;
  readonly #pipelines: Pipeline[];
  readonly #bindGroups: BindGroups[];
  readonly #request: Dispatch[];
  readonly #run: Dispatch[];
  readonly #offsets: Map<Dispatch, number>;
  readonly #release: () => void;

  private constructor(
    engine: Engine,
    plan: Plan,
    parts: {
      buffers: (GPUBuffer | undefined)[];
      own: GPUBuffer[];
      uniforms: GPUBuffer | undefined;
      pipelines: Pipeline[];
      steps: Dispatch[];
      offsets: Map<Dispatch, number>;
      release: () => void;
    },
  ) {
    this.#engine = engine;
    this.plan = plan;
    this.#buffers = parts.buffers;
    this.#own = parts.own;
    this.#uniforms = parts.uniforms;
    this.#pipelines = parts.pipelines;
    this.#bindGroups = parts.steps.map((step) => new BindGroups(plan.buffers, step));
    this.#request = parts.steps.filter((step) => step.phase === 'request');
    this.#run = parts.steps.filter((step) => step.phase === 'run');
    this.#offsets = parts.offsets;
    this.#release = parts.release;
  }

  /**
   * Compiles, uploads and allocates. Throws what that throws (`ShaderError`, `OutOfMemoryError`, source errors, the
   * signal's reason) and leaves nothing behind then.
   */
  static async prepare(
    engine: Engine,
    plan: Plan,
    weights: ResidentWeights,
    options: {
      signal?: AbortSignal | undefined;
      onProgress?: ((progress: PrepareProgress) => void) | undefined;
    } = {},
  ): Promise<Program> {
    engine.check();
    const { signal, onProgress } = options;
    const steps = dispatchesOf(plan).filter((step) => step.phase !== 'load');
    let compiled = 0;
    const compiling = Promise.all(
      steps.map(async (step) => {
        const pipeline = await engine.pipelines.get(step.kernel, step.params.byteLength > 0);
        onProgress?.({ stage: 'compile', done: ++compiled, total: steps.length });
        return pipeline;
      }),
    );
    // Awaited below; without this a failure during the upload would also surface as an unhandled rejection.
    compiling.catch(() => {});
    const held = await weights.hold(plan, { signal, onProgress });
    const own: GPUBuffer[] = [];
    let uniforms: GPUBuffer | undefined;
    try {
      const buffers = plan.buffers.map((buffer, id) => {
        const resident = held.buffers.get(id);
        if (resident) return resident;
        if (buffer.content.kind !== 'computed' || buffer.phase === 'load') return undefined;
        const created = engine.buffers.acquire(buffer.bytes, buffer.label);
        own.push(created);
        return created;
      });
      const offsets = new Map<Dispatch, number>();
      const blocks = steps.filter((step) => step.params.byteLength > 0);
      if (blocks.length > 0) {
        let bytes = 0;
        for (const step of blocks) {
          offsets.set(step, bytes);
          bytes += Math.ceil(step.params.byteLength / UNIFORM_STRIDE) * UNIFORM_STRIDE;
        }
        const contents = new Uint8Array(bytes);
        for (const step of blocks) contents.set(step.params, offsets.get(step)!);
        uniforms = engine.device.createBuffer({
          label: 'params',
          size: bytes,
          usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
        });
        engine.device.queue.writeBuffer(uniforms, 0, contents);
      }
      const pipelines = await compiling;
      await engine.buffers.settled();
      signal?.throwIfAborted();
      return new Program(engine, plan, {
        buffers,
        own,
        uniforms,
        pipelines,
        steps,
        offsets,
        release: held.release,
      });
    } catch (error) {
      for (const buffer of own) engine.buffers.release(buffer);
      uniforms?.destroy();
      held.release();
      throw error;
    }
  }

  /**
   * Submits one run. Resolves once everything is submitted (not finished): what is submitted later sees the results.
   *
   * @param external buffers of the plan's inputs and outputs, by plan id
   * @param options.fresh whether the request phase has to run: a stable input has changed
   * @throws the signal's reason; outputs are undefined then
   */
  async run(
    external: ReadonlyMap<BufferId, GPUBuffer>,
    options: { signal?: AbortSignal | undefined; fresh?: boolean } = {},
  ): Promise<void> {
    this.#engine.check();
    options.signal?.throwIfAborted();
    const buffers = [...this.#buffers];
    for (const [id, buffer] of external) buffers[id] = buffer;
    const steps = options.fresh === false ? this.#run : [...this.#request, ...this.#run];
    const first = options.fresh === false ? this.#request.length : 0;
    if (!options.signal) {
      this.#submit(steps, first, buffers);
      return;
    }
    const ahead: Promise<unknown>[] = [];
    for (let at = 0; at < steps.length; at += INTERRUPTIBLE_DISPATCHES) {
      this.#submit(steps.slice(at, at + INTERRUPTIBLE_DISPATCHES), first + at, buffers);
      ahead.push(this.#engine.device.queue.onSubmittedWorkDone());
      if (ahead.length > SUBMITTED_AHEAD) await ahead.shift();
      this.#engine.check();
      options.signal.throwIfAborted();
    }
  }

  /** @param first index of the first step among all the program's steps */
  #submit(steps: readonly Dispatch[], first: number, buffers: readonly (GPUBuffer | undefined)[]): void {
    const { device } = this.#engine;
    const encoder = device.createCommandEncoder({ label: 'run' });
    const pass = encoder.beginComputePass();
    let bound: GPUComputePipeline | undefined;
    steps.forEach((step, k) => {
      const pipeline = this.#pipelines[first + k]!;
      if (pipeline.compute !== bound) pass.setPipeline((bound = pipeline.compute));
      const uniform = this.#uniforms
        ? { buffer: this.#uniforms, offset: this.#offsets.get(step) ?? 0, size: step.params.byteLength }
        : undefined;
      pass.setBindGroup(0, this.#bindGroups[first + k]!.get(device, pipeline.layout, buffers, uniform));
      pass.dispatchWorkgroups(...step.grid);
    });
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  /** Gives memory back and lets go of the weights. */
  dispose(): void {
    for (const buffer of this.#own) this.#engine.buffers.release(buffer);
    this.#own.length = 0;
    this.#uniforms?.destroy();
    this.#release();
  }
}

/** The bind groups of one step: one, or where inputs and outputs of the run are bound, one per set of them. */
class BindGroups {
  readonly #step: Dispatch;
  /** Positions in the step's bindings whose buffer differs from run to run. */
  readonly #varying: number[];
  /** Most recently used last. */
  readonly #groups: { key: (GPUBuffer | undefined)[]; group: GPUBindGroup }[] = [];

  constructor(buffers: readonly PlanBuffer[], step: Dispatch) {
    this.#step = step;
    this.#varying = step.buffers.flatMap((id, position) => {
      const { kind } = buffers[id]!.content;
      return kind === 'input' || kind === 'output' ? [position] : [];
    });
  }

  get(
    device: GPUDevice,
    layout: GPUBindGroupLayout,
    buffers: readonly (GPUBuffer | undefined)[],
    uniform: GPUBufferBinding | undefined,
  ): GPUBindGroup {
    const key = this.#varying.map((position) => buffers[this.#step.buffers[position]!]);
    const known = this.#groups.findIndex((entry) => entry.key.every((buffer, i) => buffer === key[i]));
    if (known >= 0) {
      const [entry] = this.#groups.splice(known, 1);
      this.#groups.push(entry!);
      return entry!.group;
    }
    const resources: GPUBufferBinding[] = this.#step.buffers.map((id) => ({ buffer: buffers[id]! }));
    if (uniform && this.#step.params.byteLength > 0) resources.push(uniform);
    const group = device.createBindGroup({
      label: this.#step.label,
      layout,
      entries: resources.map((resource, binding) => ({ binding, resource })),
    });
    this.#groups.push({ key, group });
    // Callers alternate between a few tensors; what was bound long ago is not coming back.
    if (this.#groups.length > 8) this.#groups.shift();
    return group;
  }
}

function dispatchesOf(plan: Plan): Dispatch[] {
  return plan.steps.filter((step) => step.kind === 'dispatch');
}
