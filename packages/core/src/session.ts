import { untilAbort } from './abort.ts';
import { DisposedError, OutOfMemoryError } from './errors.ts';
import { Engine } from './gpu/engine.ts';
import { Program } from './gpu/program.ts';
import { ResidentWeights, type PrepareProgress } from './gpu/resident-weights.ts';
import { buildTemplate } from './graph/build.ts';
import { NeedsInputValue } from './graph/force.ts';
import { optimise } from './graph/passes/index.ts';
import { specialize } from './graph/specialize.ts';
import type { GraphTemplate, SymbolicType } from './graph/template.ts';
import { readModel } from './onnx/reader.ts';
import type { Precision } from './plan/capabilities.ts';
import { planGraph } from './plan/plan-graph.ts';
import type { Plan } from './plan/plan.ts';
import { Executable } from './session/executable.ts';
import { checkUsable, type Tensors } from './session/feeds.ts';
import { RecentlyUsed } from './session/recent.ts';
import { planRequest, type InputShapes, type PlanRequest } from './session/request.ts';
import { resolveModelSource, type ModelSource } from './source/model-source.ts';

export interface SessionOptions {
  /** The engine to run on; it stays the caller's. Without one the session makes its own and disposes it. */
  engine?: Engine;
  /** How activations are stored. The engine's by default. */
  precision?: Precision;
  /**
   * Inputs that stay the same over several runs (a prompt's embedding). What depends on them and on weights alone is
   * computed again only when another tensor is passed, or after `tensor.markChanged()`.
   */
  stableInputs?: readonly string[];
  /** Aborts the reading of the model's structure. Runs and `prepare` have their own. */
  signal?: AbortSignal;
  /** Hears of the progress of every preparation that has no listener of its own. */
  onProgress?: (progress: PrepareProgress) => void;
  /** Opens models whose weights are not there, to plan them. Running one throws `InvalidModelError`. */
  allowMissingExternalData?: boolean;
  /** How many sets of input shapes stay prepared at once; the least recently used is let go. 4 by default. */
  maxPrograms?: number;
}

export interface PrepareOptions {
  signal?: AbortSignal;
  onProgress?: (progress: PrepareProgress) => void;
}

export interface RunOptions extends PrepareOptions {
  /** Tensors on the GPU to write outputs into, by name. Outputs not named get new tensors. */
  outputs?: Readonly<Tensors>;
}

/**
 * Opens an ONNX model. Reads its structure only; weights are uploaded by `prepare` or the first run.
 *
 * ```ts
 * using session = await createSession('/models/unet/model.onnx');
 * const { out_sample } = await session.run({ sample, timestep, encoder_hidden_states });
 * const pixels = await out_sample.data();
 * ```
 *
 * @throws InvalidModelError, SourceError, UnsupportedDeviceError, the signal's reason
 */
export async function createSession(source: ModelSource, options: SessionOptions = {}): Promise<Session> {
  const { signal, precision, allowMissingExternalData = false } = options;
  const { store, path } = resolveModelSource(source);
  const reading = readModel(store, path, { allowMissingExternalData, ...(signal && { signal }) });
  const template = buildTemplate(await untilAbort(reading, signal), path);
  const engine = options.engine ?? (await Engine.create(precision ? { precision } : {}));
  return new Session(engine, template, options);
}

/** A model on an engine. Runs of one session follow one after the other, whoever calls them. */
export class Session {
  readonly engine: Engine;
  readonly #template: GraphTemplate;
  readonly #options: SessionOptions;
  readonly #stableInputs: ReadonlySet<string>;
  readonly #weights: ResidentWeights;
  readonly #programs: RecentlyUsed<Executable>;
  /** Inputs that shapes inside the graph are known to depend on. */
  readonly #valueInputs = new Set<string>();
  #queue: Promise<unknown> = Promise.resolve();
  #disposed = false;

  /** Use `createSession`. */
  constructor(engine: Engine, template: GraphTemplate, options: SessionOptions) {
    this.engine = engine;
    this.#template = template;
    this.#options = options;
    this.#stableInputs = new Set(options.stableInputs);
    this.#weights = new ResidentWeights(engine);
    this.#programs = new RecentlyUsed(options.maxPrograms ?? 4);
  }

  /** What the graph declares to take. Symbolic dimensions by name, `undefined` where nothing is known. */
  get inputs(): readonly SymbolicType[] {
    return this.#template.inputs;
  }

  /** What the graph declares to give. */
  get outputs(): readonly SymbolicType[] {
    return this.#template.outputs;
  }

  /**
   * Runs the model. Outputs stay on the GPU until `tensor.data()`; `tensor.dispose()` gives their memory back. The
   * promise resolves when the work is submitted: results can be used at once, by other sessions of the engine too.
   *
   * The first run with new input shapes plans, compiles and uploads (see `prepare`).
   *
   * @throws ShapeError, UnsupportedOpError, OutOfMemoryError, DeviceLostError, SourceError, the signal's reason
   */
  run(inputs: Readonly<Tensors>, options: RunOptions = {}): Promise<Tensors> {
    return this.#inTurn(options.signal, async () => {
      for (const [name, tensor] of Object.entries(inputs)) checkUsable(name, tensor, this.engine);
      const executable = await this.#executable(inputs, options);
      return executable.run(inputs, { targets: options.outputs, signal: options.signal });
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

  /** The plan for these input shapes. `printPlan` makes text of it. */
  plan(inputs: InputShapes): Promise<Plan> {
    return this.#inTurn(undefined, () =>
      this.#withValues(inputs, async (request) => {
        const prepared = this.#programs.get(request.key);
        return prepared?.plan ?? this.#planFor(request, undefined);
      }),
    );
  }

  /** Gives back all memory but that of tensors handed out. Runs under way reject. Idempotent. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    while (this.#programs.evict());
    this.#weights.dispose();
    if (!this.#options.engine) this.engine.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError('The session');
    this.engine.check();
  }

  /** Runs `work` after everything asked for earlier. Rejects at once when the signal aborts. */
  #inTurn<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(() => {
      this.#check();
      signal?.throwIfAborted();
      return work();
    });
    this.#queue = turn.catch(() => {});
    return untilAbort(turn, signal);
  }

  #executable(inputs: InputShapes, options: PrepareOptions): Promise<Executable> {
    return this.#withValues(inputs, async (request) => {
      const prepared = this.#programs.get(request.key);
      if (prepared) return prepared;
      const executable = await this.#prepare(request, options);
      this.#programs.set(request.key, executable);
      return executable;
    });
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

  async #planFor(request: PlanRequest, signal: AbortSignal | undefined): Promise<Plan> {
    const { types, values, storages } = request;
    const graph = await specialize(this.#template, types, values, signal ? { signal } : {});
    return planGraph(optimise(graph), {
      capabilities: this.engine.capabilities,
      precision: this.#options.precision ?? this.engine.precision,
      stableInputs: this.#stableInputs,
      inputStorage: storages,
    });
  }

  async #prepare(request: PlanRequest, options: PrepareOptions): Promise<Executable> {
    const { signal, onProgress = this.#options.onProgress } = options;
    const plan = await this.#planFor(request, signal);
    for (;;) {
      try {
        const program = await Program.prepare(this.engine, plan, this.#weights, { signal, onProgress });
        const executable = new Executable(this.engine, program, this.#stableInputs);
        if (this.#disposed) executable.dispose();
        this.#check();
        return executable;
      } catch (error) {
        // What is prepared for other shapes can be made again.
        if (!(error instanceof OutOfMemoryError && this.#programs.evict())) throw error;
      }
    }
  }
}
