import { DeviceLostError, Engine, OutOfMemoryError, type RunTimes } from '@calotype/core';
import {
  KERNEL_TRACK,
  Scheduler,
  Trace,
  type Checkpoint,
  type RequestEvent,
  type SchedulerOptions,
} from '@calotype/scheduler';
import { samplerNamesFor } from '../samplers/index.ts';
import { generationChain, type GenerationEvent } from './generation-stages.ts';
import { ImageEncoder } from './image-encoder.ts';
import { LoadedModels } from './loaded-models.ts';
import type { ClientProgress, EngineStats, ModelInfo, PipelineService } from './messages.ts';

export interface DiffusionEngineOptions extends Pick<
  SchedulerOptions,
  'limit' | 'limitPerClient' | 'maxActive' | 'maxBatch' | 'checkpointMs'
> {
  /** Makes the engine that models run on, at first and after every loss of the device. */
  createEngine?: () => Promise<Engine>;
}

/**
 * Serves any number of generations on one device: what `gpu-worker` runs. Requests of all clients go through one
 * scheduler; models are loaded once, and loaded again after a loss of the device.
 */
export class DiffusionEngine {
  readonly scheduler: Scheduler;
  readonly #models: LoadedModels;
  readonly #images = new ImageEncoder();
  readonly #chain = generationChain(this.#images);
  /** Changes of the order of requests, by their names. */
  readonly #reorder = new Map<string, ReturnType<Scheduler['submit']>['reorder']>();
  /** Shares that those who hold models ask for. The smallest counts. */
  readonly #shares = new Set<{ share: number }>();

  #recordsKernels = false;
  /** End of the last kernel recorded. */
  #kernelsEnd = 0;

  constructor(options: DiffusionEngineOptions = {}) {
    const { createEngine = () => Engine.create(), ...limits } = options;
    this.#models = new LoadedModels(createEngine, (error) => this.scheduler.lose(error));
    this.scheduler = new Scheduler({
      ...limits,
      whenDone: async () => {
        const engine = await this.#models.current();
        await engine?.until(engine.device.queue.onSubmittedWorkDone());
      },
      isLoss: (error) => error instanceof DeviceLostError,
      isOutOfMemory: (error) => error instanceof OutOfMemoryError,
      recover: async () => {
        await this.#models.recover();
        await this.#configure();
      },
    });
  }

  /** The jobs that clients may ask for. */
  readonly service: PipelineService = {
    hold: async ({ model: spec, gpuShare = 1 }, { signal, emit }) => {
      const share = { share: gpuShare };
      using use = this.#models.use(spec, (progress) => emit({ type: 'progress', progress }));
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
        samplers: samplerNamesFor(pipeline.model.facts.scheduler),
      };
      emit({ type: 'ready', info });
      this.#shares.add(share);
      await this.#configure();
      try {
        await abortable(new Promise<never>(() => {}), signal);
      } finally {
        this.#shares.delete(share);
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

    generate: async ({ id, name, model: spec, options, order, loras = [], previewEvery }, context) => {
      const { signal, client, emit, resume, keep } = context;
      using use = this.#models.use(spec);
      const request = { model: use.model, options, loras, previewEvery, arrived: performance.now() };
      const { result, reorder } = this.scheduler.submit(this.#chain, request, {
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
      try {
        return await result;
      } finally {
        this.#reorder.delete(id);
      }
    },

    reorder: async ({ id, ...order }) => this.#reorder.get(id)?.(order),

    record: async ({ on, kernels }) => {
      const before = this.scheduler.trace;
      this.scheduler.trace = on ? new Trace() : undefined;
      this.#recordsKernels = on && (kernels ?? false);
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

  /** Sets the engine of now to what is asked for. */
  async #configure(): Promise<void> {
    const share = Math.min(1, ...[...this.#shares].map(({ share }) => share));
    const engine = await this.#models.current();
    if (!engine) return;
    engine.gpuShare = share;
    engine.onDispatches = this.#recordsKernels ? (run) => this.#recordKernels(run) : undefined;
  }

  /** Ends all requests and frees everything. Idempotent. */
  dispose(): void {
    this.scheduler.dispose();
    this.#images.dispose();
    this.#models.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
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
