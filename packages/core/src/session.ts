import { untilAbort } from './abort.ts';
import {
  DisposedError,
  OutOfMemoryError,
  UnsupportedDeviceError,
  UnsupportedOpError,
  WeightUpdateError,
  type UnsupportedOp,
} from './errors.ts';
import { OrtIslands } from './fallback/islands.ts';
import { checkPrecision, Engine } from './gpu/engine.ts';
import type { DispatchTime } from './gpu/profiler.ts';
import { Profiler } from './gpu/profiler.ts';
import { Program } from './gpu/program.ts';
import { ResidentWeights, type HeldWeights } from './gpu/resident-weights.ts';
import { buildTemplate } from './graph/build.ts';
import { NeedsInputValue } from './graph/force.ts';
import type { GraphTemplate, SymbolicType } from './graph/template.ts';
import type { WeightInfo } from './graph/weight-uses.ts';
import type { Model } from './onnx/model.ts';
import { readModel } from './onnx/reader.ts';
import type { KernelTuning } from './kernels/tuning.ts';
import type { Plan } from './plan/plan.ts';
import type { WeightFormat } from './plan/weight-format.ts';
import { Executable } from './session/executable.ts';
import { checkUsable, type Tensors } from './session/feeds.ts';
import { NumericCheck } from './session/numerics.ts';
import type { PrepareOptions, RunOptions, SessionOptions } from './session/options.ts';
import { planModel } from './session/planning.ts';
import { RecentlyUsed } from './session/recent.ts';
import { cpuReport, gpuReport, type SessionReport } from './session/report.ts';
import { declaredShapes, planRequest, type InputShapes, type PlanRequest } from './session/request.ts';
import { WeightUpdates, type UpdatesByWeight } from './session/weight-updates.ts';
import { WholeExecutable } from './session/whole-executable.ts';
import { resolveModelSource, type ModelSource } from './source/model-source.ts';

/**
 * Opens an ONNX model. Reads its structure only; weights are uploaded by `prepare` or the first run.
 *
 * ```ts
 * using session = await createSession('/models/unet/model.onnx');
 * const { out_sample } = await session.run({ sample, timestep, encoder_hidden_states });
 * const pixels = await out_sample.data();
 * ```
 *
 * @throws InvalidModelError, SourceError, the signal's reason
 * @throws UnsupportedDeviceError where there is no WebGPU, or not the precision asked for, and `fallback` is forbidden
 */
export async function createSession(source: ModelSource, options: SessionOptions = {}): Promise<Session> {
  const { signal, precision, fallback, allowMissingExternalData = false } = options;
  const { store, path } = resolveModelSource(source);
  const reading = readModel(store, path, { allowMissingExternalData, ...(signal && { signal }) });
  const read = await untilAbort(reading, signal);
  const model = options.rewrite?.(read) ?? read;
  const template = await untilAbort(buildTemplate(model, path), signal);
  if (options.engine) {
    if (precision) checkPrecision(precision, options.engine.capabilities);
    return new Session(model, template, options.engine, options);
  }
  try {
    const engine = await Engine.create(precision ? { precision } : {});
    if (signal?.aborted) engine.dispose();
    signal?.throwIfAborted();
    return new Session(model, template, engine, options);
  } catch (error) {
    const mayGoOn = error instanceof UnsupportedDeviceError && error.missing !== 'shader-f16';
    if (!mayGoOn || fallback === 'forbid') throw error;
    return new Session(model, template, undefined, options, error.message);
  }
}

/** A model on an engine. Runs of one session follow one after the other, whoever calls them. */
export class Session {
  /** `undefined` where there is no WebGPU: then everything runs on the CPU. */
  readonly engine: Engine | undefined;
  readonly #model: Model;
  /** With branches beside quantized weights that have updates. */
  #template: GraphTemplate;
  readonly #options: SessionOptions;
  readonly #stableInputs: ReadonlySet<string>;
  readonly #weights: ResidentWeights | undefined;
  readonly #numerics: NumericCheck | undefined;
  readonly #islands: OrtIslands = new OrtIslands();
  readonly #programs: RecentlyUsed<Executable>;
  readonly #updates: WeightUpdates;
  /** Keeps weights on the GPU between the programs for one template and those for the next. */
  #kept: HeldWeights[] = [];
  /** Inputs that shapes inside the graph are known to depend on. */
  readonly #valueInputs = new Set<string>();
  /** Why the model as a whole runs on the CPU, once that is known. */
  #cpuReason: string | undefined;
  #whole: WholeExecutable | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  /** Calls that wait or are under way. */
  #calls = 0;
  #evictions = 0;
  #disposed = false;

  /** Use `createSession`. */
  constructor(
    model: Model,
    template: GraphTemplate,
    engine: Engine | undefined,
    options: SessionOptions,
    cpuReason?: string,
  ) {
    this.engine = engine;
    this.#model = model;
    this.#template = template;
    this.#options = options;
    this.#cpuReason = cpuReason;
    this.#stableInputs = new Set(options.stableInputs);
    this.#weights = engine && new ResidentWeights(engine);
    this.#numerics = engine && options.checkNumerics ? new NumericCheck(engine) : undefined;
    this.#programs = new RecentlyUsed(options.maxPrograms ?? 4);
    this.#updates = new WeightUpdates(template);
  }

  /** What the graph declares to take. Symbolic dimensions by name, `undefined` where nothing is known. */
  get inputs(): readonly SymbolicType[] {
    return this.#template.inputs;
  }

  /** What the graph declares to give. */
  get outputs(): readonly SymbolicType[] {
    return this.#template.outputs;
  }

  /** The files that the model consists of. */
  async files(): Promise<{ name: string; bytes: number }[]> {
    const { files } = this.#model;
    return Promise.all(files.map(async (file) => ({ name: file.name, bytes: await file.size() })));
  }

  /** Weights of products and convolutions: those that `updateWeights` may change. */
  get weights(): readonly WeightInfo[] {
    return this.#updates.weights;
  }

  /**
   * Makes these low-rank updates the ones that hold, from the next run on; weights that are not named are the file's
   * again, bit by bit.
   *
   * Updates of floats are merged on the GPU and cost nothing in a run. For that, weights whose updates changed are read
   * from their source once more: keeping a second copy would take as much memory as the weights themselves. Updates of
   * quantized weights are computed beside them; the first run then plans again.
   *
   * @throws WeightUpdateError for names that are not in `weights`, and where onnxruntime keeps the weights
   * @throws SourceError, OutOfMemoryError, the signal's reason: the updates hold nevertheless, and the next run makes up
   *   for what was missed
   */
  updateWeights(updates: UpdatesByWeight, options: PrepareOptions = {}): Promise<void> {
    return this.#inTurn(options.signal, async () => {
      if (this.#cpuReason !== undefined && updates.size > 0) {
        throw new WeightUpdateError([...updates.keys()], `onnxruntime runs this model (${this.#cpuReason})`);
      }
      const { merged, changed, template } = this.#updates.set(updates);
      if (template) await this.#exchange(template);
      this.#weights?.setMerged(merged, changed);
      for (const executable of this.#programs.values()) executable.forgetRequest();
      await this.#refresh(options);
    });
  }

  /**
   * Runs the model. Outputs stay on the GPU until `tensor.data()`; `tensor.dispose()` gives their memory back. The
   * promise resolves when the work is submitted: results can be used at once, by other sessions of the engine too.
   * Where the whole model runs on the CPU (see `report`), outputs lie on the CPU.
   *
   * The first run with new input shapes plans, compiles and uploads (see `prepare`).
   *
   * @throws ShapeError, UnsupportedOpError, OutOfMemoryError, DeviceLostError, SourceError, the signal's reason
   */
  run(inputs: Readonly<Tensors>, options: RunOptions = {}): Promise<Tensors> {
    return this.#inTurn(options.signal, () => this.#run(inputs, options));
  }

  /**
   * Runs the model and takes the GPU's time for every dispatch. Slower than `run`: dispatches do not overlap.
   *
   * @throws UnsupportedDeviceError without `timestamp-query`; what `run` throws
   */
  profile(
    inputs: Readonly<Tensors>,
    options: RunOptions = {},
  ): Promise<{ outputs: Tensors; dispatches: DispatchTime[] }> {
    return this.#inTurn(options.signal, async () => {
      if (!this.engine)
        throw new UnsupportedDeviceError('Without WebGPU there is nothing to profile.', 'navigator.gpu');
      const profiler = new Profiler(this.engine);
      try {
        const outputs = await this.#run(inputs, options, profiler);
        return { outputs, dispatches: await profiler.results() };
      } finally {
        profiler.dispose();
      }
    });
  }

  /**
   * Does ahead of time what the first run with these input shapes would: plans, compiles kernels, uploads weights and
   * allocates.
   */
  prepare(inputs: InputShapes, options: PrepareOptions = {}): Promise<void> {
    return this.#inTurn(options.signal, async () => {
      await this.#executable(inputs, options);
    });
  }

  /** @internal Plans with another tuning than the engine's. */
  planWith(inputs: InputShapes, tuning: KernelTuning, signal?: AbortSignal): Promise<Plan> {
    return this.#inTurn(signal, async () => {
      if (!this.engine) throw new UnsupportedDeviceError(this.#cpuReason!, 'navigator.gpu');
      return this.#withValues(inputs, (request) => this.#planFor(request, signal, undefined, tuning));
    });
  }

  /** @internal Lets go of everything prepared: the engine's tuning has changed. */
  forget(): Promise<void> {
    return this.#inTurn(undefined, async () => {
      while (this.#programs.evict());
    });
  }

  /**
   * The plan for these input shapes; by default for those prepared last, or those that the graph declares. `printPlan`
   * makes text of it.
   *
   * @param options.weights plans as if the session had been opened with this format
   * @throws UnsupportedDeviceError, UnsupportedOpError for a model that runs on the CPU as a whole
   * @throws OutOfMemoryError for a tensor larger than the device can bind
   * @throws ShapeError where no shapes are given and the graph leaves dimensions open
   */
  plan(inputs?: InputShapes, { weights }: { weights?: WeightFormat } = {}): Promise<Plan> {
    return this.#inTurn(undefined, async () => {
      if (!this.engine) throw new UnsupportedDeviceError(this.#cpuReason!, 'navigator.gpu');
      const latest = this.#programs.latest?.plan;
      if (!inputs && latest && !weights) return latest;
      return this.#withValues(inputs ?? declaredShapes(this.#template), async (request) => {
        const prepared = weights ? undefined : this.#programs.get(request.key);
        return prepared?.plan ?? this.#planFor(request, undefined, weights);
      });
    });
  }

  /** What runs the model, as far as it was prepared. */
  report(): SessionReport {
    if (this.#cpuReason !== undefined) return cpuReport(this.#model, this.#cpuReason);
    const plan = this.#programs.latest?.plan;
    const records = plan ? plan.steps.flatMap((step) => (step.kind === 'island' ? [step] : [])) : [];
    return gpuReport(
      this.engine!,
      plan,
      records.flatMap((island) => this.#islands.records.get(island) ?? []),
      this.#evictions,
    );
  }

  /** Whether no call is under way. */
  get isIdle(): boolean {
    return this.#calls === 0;
  }

  /**
   * Gives back the memory of an idle session, as the engine does by itself when memory runs out. The next run reads the
   * weights again. False where it held nothing, or is not idle.
   */
  evict(): boolean {
    if (!this.isIdle || (this.#programs.size === 0 && this.#kept.length === 0)) return false;
    while (this.#programs.evict());
    this.#letGo();
    this.#evictions++;
    return true;
  }

  /**
   * Gives back all memory but that of tensors handed out; with an engine of its own, theirs too. Runs under way reject.
   * Idempotent.
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.engine?.residents.remove(this);
    while (this.#programs.evict());
    this.#letGo();
    this.#whole?.dispose();
    this.#weights?.dispose();
    this.#numerics?.dispose();
    if (!this.#options.engine) this.engine?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError('The session');
    this.engine?.check();
  }

  /** Runs `work` after everything asked for earlier. Rejects at once when the signal aborts. */
  #inTurn<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(() => {
      this.#check();
      signal?.throwIfAborted();
      this.engine?.residents.touch(this);
      return work();
    });
    this.#calls++;
    this.#queue = turn.catch(() => {}).finally(() => this.#calls--);
    return this.engine ? this.engine.until(turn, signal) : untilAbort(turn, signal);
  }

  async #run(inputs: Readonly<Tensors>, options: RunOptions, profiler?: Profiler): Promise<Tensors> {
    for (const [name, tensor] of Object.entries(inputs)) checkUsable(name, tensor, this.engine);
    await this.#refresh(options);
    const executable = await this.#executable(inputs, options);
    const watch = profiler ? undefined : this.#watch();
    const results = await this.#withRoom(1, () => {
      const timing = profiler ?? watch?.profiler;
      const { outputs: targets, signal, before } = options;
      // What is to be checked is not taken up before.
      const after = this.#numerics ? undefined : options.after;
      return executable.run(inputs, { targets, signal, profiler: timing, before, after });
    }).catch((error: unknown) => {
      watch?.profiler.dispose();
      throw error;
    });
    watch?.tell();
    try {
      await this.#numerics?.check(results);
      this.#check();
      options.signal?.throwIfAborted();
      if (this.#numerics) options.after?.(results);
    } catch (error) {
      for (const [name, tensor] of Object.entries(results)) if (!options.outputs?.[name]) tensor.dispose();
      throw error;
    }
    return results;
  }

  /** Times the next run for whoever watches the engine. */
  #watch(): { profiler: Profiler; tell: () => void } | undefined {
    const { engine } = this;
    if (!engine?.onDispatches || !engine.capabilities.features.timestampQuery) return undefined;
    const profiler = new Profiler(engine);
    const submitted = performance.now();
    const told = async (): Promise<void> => {
      // A device that is lost is told of elsewhere.
      const dispatches = await profiler.results().catch(() => undefined);
      if (dispatches) engine.onDispatches?.({ submitted, dispatches });
    };
    const tell = (): void => {
      const telling = told();
      engine.timed.add(telling);
      void telling.finally(() => engine.timed.delete(telling));
    };
    return { profiler, tell };
  }

  async #executable(inputs: InputShapes, options: PrepareOptions): Promise<Executable | WholeExecutable> {
    if (this.#cpuReason === undefined) {
      try {
        return await this.#withValues(inputs, async (request) => {
          const prepared = this.#programs.get(request.key);
          if (prepared) return prepared;
          const executable = await this.#prepare(request, options);
          this.#programs.set(request.key, executable);
          return executable;
        });
      } catch (error) {
        if (!(error instanceof UnsupportedOpError) || !this.#mayFallBack) throw error;
        const { updated } = this.#updates;
        if (updated.length > 0) throw new WeightUpdateError(updated, 'this model needs onnxruntime');
        this.#cpuReason = reasonOf(error.ops);
      }
    }
    this.#whole ??= await this.#openWhole(options);
    return this.#whole;
  }

  get #mayFallBack(): boolean {
    return this.#options.fallback !== 'forbid';
  }

  async #openWhole({
    signal,
    onProgress = this.#options.onProgress,
  }: PrepareOptions): Promise<WholeExecutable> {
    const { WholeGraph } = await import('./fallback/whole-graph.ts');
    const graph = await WholeGraph.create(this.#model, this.#template.file, { signal, onProgress });
    const whole = new WholeExecutable(graph, this.#template);
    if (this.#disposed) whole.dispose();
    this.#check();
    return whole;
  }

  /** Calls `use` again with elements of inputs when it turns out that shapes depend on them. */
  async #withValues<T>(inputs: InputShapes, use: (request: PlanRequest) => Promise<T>): Promise<T> {
    for (;;) {
      const request = await planRequest(this.#template, inputs, this.#valueInputs);
      try {
        return await use(request);
      } catch (error) {
        if (!(error instanceof NeedsInputValue)) throw error;
        for (const name of error.inputs) this.#valueInputs.add(name);
      }
    }
  }

  #planFor(
    request: PlanRequest,
    signal: AbortSignal | undefined,
    weights: WeightFormat = this.#options.weights ?? 'as-stored',
    tuning: KernelTuning = this.engine!.tuning,
  ): Promise<Plan> {
    return planModel(this.#template, request, {
      engine: this.engine!,
      tuning,
      precision: this.#options.precision ?? this.engine!.precision,
      stableInputs: this.#stableInputs,
      weights,
      mayFallBack: this.#mayFallBack,
      signal,
    });
  }

  async #prepare(request: PlanRequest, options: PrepareOptions): Promise<Executable> {
    const { signal, onProgress = this.#options.onProgress } = options;
    const engine = this.engine!;
    const plan = await this.#planFor(request, signal);
    this.#refuseForeign(plan);
    return this.#withRoom(0, async () => {
      const program = await Program.prepare(engine, plan, this.#weights!, {
        signal,
        onProgress,
        islands: this.#islands,
      });
      const executable = new Executable(engine, program, this.#stableInputs);
      this.#letGo();
      if (this.#disposed) executable.dispose();
      this.#check();
      return executable;
    });
  }

  /** @throws WeightUpdateError where onnxruntime would run with the file's weights in place of the updated ones */
  #refuseForeign({ steps }: Plan): void {
    const updated = new Set(this.#updates.updated);
    for (const step of steps) {
      if (step.kind !== 'island') continue;
      const names = [...step.weights.values()].flatMap(({ name }) => (updated.has(name) ? [name] : []));
      if (names.length > 0) throw new WeightUpdateError(names, `onnxruntime runs ${step.label} with it`);
    }
  }

  /** Makes weights again whose updates have changed. */
  async #refresh({ signal, onProgress = this.#options.onProgress }: PrepareOptions): Promise<void> {
    await this.#withRoom(1, async () => this.#weights?.refresh({ signal, onProgress }));
  }

  /** Goes over to another form of the model, whose programs are made when they are wanted. Weights stay. */
  async #exchange(template: GraphTemplate): Promise<void> {
    for (const { plan } of this.#programs.values()) this.#kept.push(await this.#weights!.hold(plan, {}));
    while (this.#programs.evict());
    this.#template = template;
  }

  #letGo(): void {
    for (const held of this.#kept) held.release();
    this.#kept = [];
  }

  /**
   * When memory runs out, lets go of what can be made again: programs for other shapes, but for the last `spared`, then
   * what other sessions hold.
   */
  async #withRoom<T>(spared: number, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        const isOwn = this.#programs.size > spared;
        if (isOwn) this.#programs.evict();
        else if (!this.engine?.residents.evictOne()) throw error;
        this.engine?.buffers.trim();
      }
    }
  }
}

function reasonOf(ops: readonly UnsupportedOp[]): string {
  const [first] = ops;
  const others = new Set(ops.map(({ op }) => op)).size - 1;
  return `${first!.op} '${first!.node}': ${first!.reason}${others > 0 ? ` (and ${others} other operators)` : ''}`;
}
