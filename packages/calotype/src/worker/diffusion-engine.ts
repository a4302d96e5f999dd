import { DeviceLostError, Engine, GpuClock, OutOfMemoryError, type RunTimes } from '@calotype/core';
import {
  BUSY_TRACK,
  KERNEL_TRACK,
  TRANSFER_TRACK,
  Scheduler,
  Trace,
  WorkerCrashedError,
  WorkerLink,
  type Checkpoint,
  type RequestEvent,
  type SchedulerOptions,
} from '@calotype/scheduler';
import { generationChain, type GenerationEvent } from './generation-stages.ts';
import { CPU_THREAD } from './cpu-service.ts';
import { CpuThread, type CpuLink } from './cpu-thread.ts';
import { LentWorkers } from './lent-workers.ts';
import { LoadedModels } from './loaded-models.ts';
import type { ClientProgress, EngineLimits, EngineStats, ModelInfo, PipelineService } from './messages.ts';

export interface DiffusionEngineOptions extends Pick<
  SchedulerOptions,
  'limit' | 'limitPerClient' | 'maxActive' | 'maxBatch' | 'memoryBudget' | 'checkpointMs'
> {
  /** Makes the engine that models run on, at first and after every loss of the device. */
  createEngine?: () => Promise<Engine>;
  /**
   * How the thread for files, prompts and pictures is reached. Default: a worker that this worker starts, or where it may start
   * none, one that a page starts for it. An engine in a page has none unless it is given `cpuWorker`.
   */
  cpuLink?: CpuLink;
}

/**
 * Serves any number of generations on one device: what `gpu-worker` runs. Requests of all clients go through one
 * scheduler; models are loaded once, and loaded again after a loss of the device.
 */
export class DiffusionEngine {
  readonly scheduler: Scheduler;
  readonly #models: LoadedModels;
  readonly #thread: CpuThread;
  readonly #lent = new LentWorkers();
  readonly #chain: ReturnType<typeof generationChain>;
  /** Changes of the order of requests, by their names. */
  readonly #reorder = new Map<string, ReturnType<Scheduler['submit']>['reorder']>();
  /** What those who hold models allow. The least counts. */
  readonly #limits = new Set<EngineLimits>();
  /** The engine of now, or the one before while there is none. */
  #engine: Engine | undefined;
  /** The budget that it was made with. */
  #ownBudget = Infinity;

  #recordsKernels = false;
  /** End of the last kernel recorded. */
  #kernelsEnd = 0;

  constructor(options: DiffusionEngineOptions = {}) {
    const { createEngine = () => Engine.create(), cpuLink, ...limits } = options;
    const ownLink = typeof Worker === 'undefined' ? this.#lent.link : sameScript;
    this.#thread = new CpuThread(cpuLink ?? ownLink);
    this.#thread.trace = () => this.scheduler.trace;
    this.#chain = generationChain(this.#thread);
    const create = async (): Promise<Engine> => {
      const engine = (this.#engine = await createEngine());
      this.#ownBudget = engine.memoryBudget;
      this.#apply(engine);
      return engine;
    };
    this.#models = new LoadedModels(create, this.#thread, (error) => this.scheduler.lose(error));
    this.scheduler = new Scheduler({
      ...limits,
      whenDone: async () => {
        const engine = await this.#models.current();
        await engine?.until(engine.device.queue.onSubmittedWorkDone());
      },
      restedMs: () => this.#engine?.restedMs ?? 0,
      isLoss: (error) => error instanceof DeviceLostError,
      isOutOfMemory: (error) => error instanceof OutOfMemoryError,
      recover: () => this.#models.recover(),
    });
  }

  /** The jobs that clients may ask for. */
  readonly service: PipelineService = {
    hold: async ({ model: spec, ...limits }, { signal, emit }) => {
      const stopLending = this.#lent.add(emit);
      this.#limits.add(limits);
      try {
        // Before anything is loaded into an engine that is there.
        await this.#configure();
        using use = this.#models.use(spec, emit);
        const { model } = use;
        // Those who have loaded the model are told first; there may be somebody else who loads it.
        const pipeline = await abortable(model.pipeline(), signal);
        const { engine, defaultSize, defaults } = pipeline;
        const info: ModelInfo = {
          adapter: engine.capabilities.adapter,
          precision: spec.precision ?? engine.precision,
          defaultSize,
          defaults,
          warnings: pipeline.model.facts.warnings,
        };
        emit({ type: 'ready', info });
        await abortable(new Promise<never>(() => {}), signal);
      } finally {
        stopLending();
        this.#limits.delete(limits);
        await this.#configure();
      }
    },

    holdLora: async ({ model: spec, lora: sent }, { signal, emit }) => {
      using use = this.#models.use(spec);
      const holding = use.model.loras.hold(sent);
      try {
        const { name, layers, skipped } = (await abortable(holding, signal)).lora;
        emit({ type: 'ready', name, layers, skipped });
        await abortable(new Promise<never>(() => {}), signal);
      } finally {
        // It may still be on its way.
        holding.then(
          (held) => held[Symbol.dispose](),
          () => {},
        );
      }
    },

    generate: async ({ id, name, sent, model: spec, options, order, loras = [], previewEvery }, context) => {
      const { signal, client, emit, resume, keep } = context;
      using use = this.#models.use(spec);
      const request = { model: use.model, options, loras, previewEvery, arrived: performance.now() };
      const {
        result,
        reorder,
        name: handle,
      } = this.scheduler.submit(this.#chain, request, {
        ...order,
        name,
        client,
        signal,
        resume: resume as Checkpoint | undefined,
        onEvent: (event) => {
          if (event.type === 'checkpoint') keep(event.checkpoint);
          else for (const progress of progressOf(event)) emit(progress);
        },
      });
      this.#reorder.set(id, reorder);
      if (sent !== undefined) {
        // By the clock that all thread of a browser share.
        const start = Math.min(sent - performance.timeOrigin, request.arrived);
        this.scheduler.trace?.add({ track: handle, name: 'message', start, end: request.arrived });
      }
      try {
        return await result;
      } finally {
        this.#reorder.delete(id);
      }
    },

    samplers: async ({ model: spec }) => {
      using use = this.#models.use(spec);
      const { samplerNamesFor } = await import('../samplers/registry.ts');
      return samplerNamesFor((await use.model.pipeline()).model.facts.scheduler);
    },

    reorder: async ({ id, ...order }) => this.#reorder.get(id)?.(order),

    lend: async (answer) => {
      const { id } = answer;
      this.#lent.lend(id, 'port' in answer ? answer.port : new WorkerCrashedError(answer.reason));
    },

    record: async ({ on, kernels }) => {
      // Kernels' times are read back some time after they ran.
      const timing = this.#recordsKernels ? await this.#models.current() : undefined;
      if (timing) await Promise.all(timing.timed);
      const before = this.scheduler.trace;
      this.scheduler.trace = on ? new Trace() : undefined;
      this.#recordsKernels = on && (kernels ?? false);
      if (before) await this.#recordBusy(before);
      await this.#configure();
      return before && { spans: before.spans, start: before.start };
    },

    stats: async () => this.stats(),
  };

  /** What is held and done now. */
  async stats(): Promise<EngineStats> {
    const engine = await this.#models.current();
    const { requests, active } = this.scheduler.stats;
    return {
      requests,
      active,
      models: this.#models.size,
      gpuBytes: engine?.buffers.liveBytes ?? 0,
      gpuBuffers: engine?.buffers.liveBuffers ?? 0,
      thread:
        typeof document !== 'undefined'
          ? 'page'
          : 'SharedWorkerGlobalScope' in globalThis
            ? 'shared-worker'
            : 'worker',
      cpu: this.#thread.place,
    };
  }

  /**
   * Puts a run's dispatches on a track of their own. The GPU has a clock of its own: the run is placed where it was submitted,
   * or after the one before it.
   */
  #recordKernels({ submitted, dispatches }: RunTimes): void {
    const { trace } = this.scheduler;
    const origin = Math.max(submitted, this.#kernelsEnd);
    for (const { label, kernel, microseconds, startMicroseconds = 0 } of dispatches) {
      const start = origin + startMicroseconds / 1000;
      const end = start + microseconds / 1000;
      this.#kernelsEnd = Math.max(this.#kernelsEnd, end);
      trace?.add({ track: KERNEL_TRACK, name: kernel, start, end, args: { node: label } });
    }
  }

  /** Adds when the GPU was busy to a recording. */
  async #recordBusy(trace: Trace): Promise<void> {
    const engine = await this.#models.current();
    // A device that is lost is told of elsewhere; its times are lost with it.
    const intervals = (await engine?.clock?.take().catch(() => undefined)) ?? [];
    for (const { start, end } of intervals) trace.add({ track: BUSY_TRACK, name: 'busy', start, end });
  }

  /** Sets the engine of now, if there is one, to what is asked for. */
  async #configure(): Promise<void> {
    const engine = await this.#models.current();
    if (engine) this.#apply(engine);
  }

  #apply(engine: Engine): void {
    const limits = [...this.#limits];
    engine.gpuShare = Math.min(...limits.map(({ gpuShare = 1 }) => gpuShare), 1);
    engine.memoryBudget = Math.min(
      ...limits.map(({ memoryBudget = Infinity }) => memoryBudget),
      this.#ownBudget,
    );
    engine.onDispatches = this.#recordsKernels ? (run) => this.#recordKernels(run) : undefined;
    engine.onTransfer =
      this.scheduler.trace &&
      (({ kind, bytes, start, end }) => {
        this.scheduler.trace?.add({ track: TRANSFER_TRACK, name: kind, start, end, args: { bytes } });
      });
    const { timestampQuery } = engine.capabilities.features;
    // Kernels are timed by passes of their own.
    if (this.scheduler.trace && !this.#recordsKernels && timestampQuery)
      engine.clock ??= new GpuClock(engine);
    else {
      engine.clock?.dispose();
      engine.clock = undefined;
    }
  }

  /** Ends all requests and frees everything. Idempotent. */
  dispose(): void {
    this.scheduler.dispose();
    this.#models.dispose();
    this.#thread.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A worker of this worker's own script, which is `gpu-worker`. */
function sameScript(): WorkerLink {
  if (typeof document !== 'undefined') throw new Error('The engine is in a page, and has no cpuLink.');
  return new WorkerLink(() => new Worker(location.href, { type: 'module', name: CPU_THREAD }));
}

/** What the scheduler tells, in the words of a pipeline's own progress. */
function progressOf(event: RequestEvent): ClientProgress[] {
  switch (event.type) {
    case 'queued':
      return [{ stage: 'queued', position: event.position, remainingMs: event.remainingMs }];
    case 'restarted':
      return [{ stage: 'restarted', reason: event.reason }];
    case 'step': {
      const { stage, step, steps, remainingMs } = event;
      if (stage === 'encode' && step === 0) return [{ stage, remainingMs }];
      if (stage === 'denoise') return [{ stage, step, steps, remainingMs }];
      return [];
    }
    case 'stage':
      return [stageProgress(event.event as GenerationEvent)];
    case 'checkpoint':
      return [];
  }
}

function stageProgress(event: GenerationEvent): ClientProgress {
  if (event.type === 'preview') {
    const { step, steps, image: preview } = event;
    return { stage: 'denoise', step, steps, preview };
  }
  return { stage: 'decode', image: event.image, images: event.images };
}

/** `promise`, or the signal's reason. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
