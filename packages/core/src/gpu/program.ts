import { DisposedError } from '../errors.ts';
import { layoutParams, type ParamsLayout } from '../plan/params.ts';
import type { BufferId, Dispatch, Island, Plan } from '../plan/plan.ts';
import { BindGroups } from './bind-groups.ts';
import type { Engine } from './engine.ts';
import { CommandBuffer } from './launches.ts';
import { DispatchTimes } from './pacer.ts';
import type { Pipeline } from './pipeline-cache.ts';
import { Profiler } from './profiler.ts';
import type { LoadOptions } from './load.ts';
import type { HeldWeights, ResidentWeights } from './resident-weights.ts';

/** Dispatches of a command buffer that an idle GPU waits for, and how many times as many are in each that follows. */
const FIRST_DISPATCHES = 16;
const GROWTH = 4;

/** Runs the islands of plans; `fallback/` has the one that does it with onnxruntime-web. */
export interface IslandHost {
  prepare(island: Island, engine: Engine, signal: AbortSignal | undefined): Promise<PreparedIsland>;
}

export interface PreparedIsland {
  /**
   * Resolves once the results are in `outputs`, or submitted to be.
   *
   * @param inputs in the order of the island's inputs, each as large as its plan buffer or larger
   */
  run(inputs: readonly GPUBuffer[], outputs: readonly GPUBuffer[]): Promise<void>;
  dispose(): void;
}

export interface ProgramOptions extends LoadOptions {
  islands?: IslandHost | undefined;
}

/** Launches of custom kernels that go with a run, in its own command buffers: one more costs the GPU 10 to 20 µs. */
export interface RunLaunches {
  before?: (() => void) | undefined;
  after?: (() => void) | undefined;
}

/** A dispatch with what a command encoder needs for it. */
interface ReadyDispatch {
  step: Dispatch;
  pipeline: GPUComputePipeline;
  groups: BindGroups;
}

/** Dispatches between islands, or an island. */
type Unit =
  | { kind: 'dispatches'; dispatches: ReadyDispatch[] }
  | { kind: 'island'; island: Island; prepared: PreparedIsland };

/**
 * A plan made real on a device: pipelines compiled, weights resident, intermediates and uniforms allocated. Running it
 * again with the same buffers creates nothing.
 */
export class Program {
  readonly plan: Plan;
  readonly #engine: Engine;
  readonly #parts: Parts;
  readonly #times = new DispatchTimes();
  #disposed = false;

  private constructor(engine: Engine, plan: Plan, parts: Parts) {
    this.#engine = engine;
    this.plan = plan;
    this.#parts = parts;
  }

  /**
   * Compiles, uploads and allocates. Throws what that throws (`ShaderError`, `OutOfMemoryError`, source errors, the
   * signal's reason) and leaves nothing behind then.
   */
  static async prepare(
    engine: Engine,
    plan: Plan,
    weights: ResidentWeights,
    options: ProgramOptions = {},
  ): Promise<Program> {
    engine.check();
    options.signal?.throwIfAborted();
    checkBudget(engine, plan, weights);
    const parts = new Parts(engine, plan);
    try {
      // All at once: browsers compile in parallel, also while weights are on their way.
      const compiling = parts.compile(options);
      compiling.catch(() => {});
      await parts.allocate(options.signal);
      parts.held = await weights.hold(plan, options);
      const pipelines = await engine.until(compiling, options.signal);
      await parts.assemble(pipelines, options);
      options.signal?.throwIfAborted();
      return new Program(engine, plan, parts);
    } catch (error) {
      parts.dispose();
      throw error;
    }
  }

  /**
   * Submits one run. Resolves once everything is submitted (not finished): what is submitted later sees the results.
   *
   * @param external buffers of the plan's inputs and outputs, by plan id
   * @param options.fresh whether the request phase has to run: a stable input has changed
   * @param options.before called when the first command buffer is submitted, and not where this throws earlier
   * @param options.after called when the last one is: what is thrown by then keeps it from being called
   * @throws the signal's reason; outputs are undefined then
   */
  async run(
    external: ReadonlyMap<BufferId, GPUBuffer>,
    options: {
      signal?: AbortSignal | undefined;
      fresh?: boolean;
      profiler?: Profiler | undefined;
    } & RunLaunches = {},
  ): Promise<void> {
    const { signal, fresh = true, profiler, before, after } = options;
    const { device, gpuShare, launches, pacer } = this.#engine;
    this.#engine.check();
    signal?.throwIfAborted();
    const buffers = [...this.#parts.buffers];
    for (const [id, buffer] of external) buffers[id] = buffer;
    const units = fresh ? this.#parts.all : this.#parts.run;
    // Dispatches that are timed have their passes to themselves, and islands have none.
    const [first, last] = profiler ? [] : [units[0], units.at(-1)];
    if (before && first?.kind !== 'dispatches') launches.together(before);
    for (const unit of units) {
      if (unit.kind === 'island') {
        await this.#runIsland(unit.island, unit.prepared, buffers, profiler);
        this.#checkAfterWait(signal);
        continue;
      }
      const { dispatches } = unit;
      // A GPU that rests is not waiting.
      let count = pacer.pending > 0 || gpuShare < 1 ? Infinity : FIRST_DISPATCHES;
      for (let at = 0; at < dispatches.length;) {
        // Whoever waited too may have had that turn.
        for (let wait = signal && pacer.wait; wait; wait = pacer.wait) {
          await this.#engine.until(wait, signal);
          this.#checkAfterWait(signal);
        }
        const most = this.#times.perBuffer(signal && pacer.bufferMs);
        const part = dispatches.slice(at, at + Math.min(count, most));
        const lead = unit === first && at === 0 ? before : undefined;
        at += part.length;
        count *= GROWTH;
        const tail = unit === last && at === dispatches.length ? after : undefined;
        this.#submit(part, buffers, profiler, { before: lead, after: tail });
        if (signal) pacer.submitted(device.queue.onSubmittedWorkDone(), part.length, this.#times);
      }
    }
    if (after && last?.kind !== 'dispatches') launches.together(after);
  }

  /** Buffers that were given back meanwhile may be somebody else's by now: nothing more may be submitted. */
  #checkAfterWait(signal: AbortSignal | undefined): void {
    if (this.#disposed) throw new DisposedError('The session');
    this.#engine.check();
    signal?.throwIfAborted();
  }

  #submit(
    dispatches: readonly ReadyDispatch[],
    buffers: readonly (GPUBuffer | undefined)[],
    profiler: Profiler | undefined,
    { before, after }: RunLaunches,
  ): void {
    const { device, launches } = this.#engine;
    if (profiler) {
      const encoder = device.createCommandEncoder({ label: 'run' });
      const timestamps = profiler.begin(dispatches.map(({ step }) => step));
      dispatches.forEach((dispatch, i) => {
        const pass = encoder.beginComputePass({ timestampWrites: timestamps(i) });
        encode(pass, [dispatch], device, buffers);
        pass.end();
      });
      profiler.end(encoder);
      device.queue.submit([encoder.finish()]);
      return;
    }
    const [lead, tail] = launches.gather(before, after);
    const commands = new CommandBuffer(this.#engine, 'run');
    commands.add(lead!);
    encode(commands.pass, dispatches, device, buffers);
    commands.add(tail!);
    commands.submit();
  }

  async #runIsland(
    island: Island,
    prepared: PreparedIsland,
    buffers: readonly (GPUBuffer | undefined)[],
    profiler: Profiler | undefined,
  ): Promise<void> {
    const bound = (ports: Island['inputs']): GPUBuffer[] => ports.map(({ view }) => buffers[view.buffer]!);
    const { queue } = this.#engine.device;
    if (profiler) await this.#engine.until(queue.onSubmittedWorkDone());
    const start = performance.now();
    await prepared.run(bound(island.inputs), bound(island.outputs));
    if (!profiler) return;
    await this.#engine.until(queue.onSubmittedWorkDone());
    profiler.island(island.label, (performance.now() - start) * 1000);
  }

  /** Gives memory back and lets go of the weights. Idempotent. */
  dispose(): void {
    if (!this.#disposed) this.#parts.dispose();
    this.#disposed = true;
  }
}

function encode(
  pass: GPUComputePassEncoder,
  dispatches: readonly ReadyDispatch[],
  device: GPUDevice,
  buffers: readonly (GPUBuffer | undefined)[],
): void {
  let bound: GPUComputePipeline | undefined;
  for (const { step, pipeline, groups } of dispatches) {
    if (pipeline !== bound) pass.setPipeline((bound = pipeline));
    pass.setBindGroup(0, groups.get(device, buffers));
    pass.dispatchWorkgroups(...step.grid);
  }
}

/** One after the other; dispatches on both sides of the border share command buffers. */
function joined(first: readonly Unit[], second: readonly Unit[]): Unit[] {
  const [before, after] = [first.at(-1), second[0]];
  if (before?.kind !== 'dispatches' || after?.kind !== 'dispatches') return [...first, ...second];
  const dispatches = [...before.dispatches, ...after.dispatches];
  return [...first.slice(0, -1), { kind: 'dispatches', dispatches }, ...second.slice(1)];
}

/** Makes room for a plan, or says that there is none, before anything is read. */
function checkBudget(engine: Engine, plan: Plan, weights: ResidentWeights): void {
  const { buffers } = engine;
  const needed = plan.intermediateBytes + layoutParams(plan).bytes + weights.peakBytes(plan);
  if (!buffers.makeRoom(needed)) throw buffers.noRoom('the weights and intermediates of a model', needed);
}

/** Everything that a program owns or holds. */
class Parts {
  /** By plan id; inputs and outputs are missing, they change with every run. */
  buffers: (GPUBuffer | undefined)[] = [];
  request: Unit[] = [];
  run: Unit[] = [];
  /** Both phases. */
  all: readonly Unit[] = [];
  held: HeldWeights | undefined;
  readonly #engine: Engine;
  readonly #plan: Plan;
  readonly #own: GPUBuffer[] = [];
  readonly #layout: ParamsLayout;
  #params: GPUBuffer | undefined;

  constructor(engine: Engine, plan: Plan) {
    this.#engine = engine;
    this.#plan = plan;
    this.#layout = layoutParams(plan);
  }

  get #dispatches(): Dispatch[] {
    return this.#plan.steps.filter((step) => step.kind === 'dispatch' && step.phase !== 'load') as Dispatch[];
  }

  compile({ onProgress }: ProgramOptions): Promise<Map<Dispatch, Pipeline>> {
    const { pipelines } = this.#engine;
    // Weights wait for these, and a browser on a processor compiles one after the other. Their load takes the errors.
    for (const step of this.#plan.steps) {
      if (step.kind === 'dispatch' && step.phase === 'load')
        pipelines.get(step.kernel, step.params.byteLength > 0).catch(() => {});
    }
    const dispatches = this.#dispatches;
    const total = new Set(dispatches.map(({ kernel }) => kernel.code)).size;
    const done = new Set<string>();
    const compiling = dispatches.map(async (step): Promise<[Dispatch, Pipeline]> => {
      const pipeline = await pipelines.get(step.kernel, step.params.byteLength > 0);
      if (!done.has(step.kernel.code)) {
        done.add(step.kernel.code);
        onProgress?.({ stage: 'compile', done: done.size, total });
      }
      return [step, pipeline];
    });
    return Promise.all(compiling).then((pairs) => new Map(pairs));
  }

  /** Intermediates come before the weights: if they do not fit, nothing needs to be read. */
  async allocate(signal: AbortSignal | undefined): Promise<void> {
    const { buffers } = this.#engine;
    this.buffers = this.#plan.buffers.map(({ content, phase, bytes, label }) => {
      if (content.kind !== 'computed' || phase === 'load') return undefined;
      const buffer = buffers.acquire(bytes, label);
      this.#own.push(buffer);
      return buffer;
    });
    if (this.#layout.bytes > 0) {
      this.#params = buffers.acquire(this.#layout.bytes, 'params', 'uniform');
      this.#own.push(this.#params);
    }
    await this.#engine.until(buffers.settled(this.#own), signal);
  }

  async assemble(pipelines: ReadonlyMap<Dispatch, Pipeline>, options: ProgramOptions): Promise<void> {
    for (const [id, buffer] of this.held!.buffers) this.buffers[id] = buffer;
    const params = this.#writeParams();
    for (const step of this.#plan.steps) {
      if (step.phase === 'load') continue;
      const units = this[step.phase];
      if (step.kind === 'island') {
        if (!options.islands) throw new Error(`Internal error: nothing runs island '${step.label}'`);
        const prepared = await options.islands.prepare(step, this.#engine, options.signal);
        units.push({ kind: 'island', island: step, prepared });
        continue;
      }
      const { compute, layout } = pipelines.get(step)!;
      const groups = new BindGroups(this.#plan.buffers, step, layout, params.get(step));
      const last = units.at(-1);
      const ready = { step, pipeline: compute, groups };
      if (last?.kind === 'dispatches') last.dispatches.push(ready);
      else units.push({ kind: 'dispatches', dispatches: [ready] });
    }
    this.all = joined(this.request, this.run);
  }

  /** One buffer for the uniform blocks of all dispatches. */
  #writeParams(): Map<Dispatch, GPUBufferBinding> {
    const buffer = this.#params;
    if (!buffer) return new Map();
    const contents = new Uint8Array(this.#layout.bytes);
    const { offsets } = this.#layout;
    for (const [{ params }, offset] of offsets) contents.set(params, offset);
    this.#engine.device.queue.writeBuffer(buffer, 0, contents);
    return new Map(
      [...offsets].map(([step, offset]) => [step, { buffer, offset, size: step.params.byteLength }]),
    );
  }

  dispose(): void {
    for (const buffer of this.#own) this.#engine.buffers.release(buffer);
    this.#own.length = 0;
    for (const unit of [...this.request, ...this.run]) if (unit.kind === 'island') unit.prepared.dispose();
    this.held?.release();
  }
}
