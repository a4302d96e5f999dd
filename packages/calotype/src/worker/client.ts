import {
  Client,
  FirstUsableLink,
  LeaderLink,
  SharedWorkerLink,
  Trace,
  WorkerLink,
  type Link,
} from '@calotype/scheduler';
import { OptionError } from '../errors.ts';
import { registerAllErrors } from './errors.ts';
import type { Lora } from '../lora/index.ts';
import type { FetchProgress } from '@calotype/core';
import type { LoadOptions } from '../pipelines/options.ts';
import type { GenerateResult } from '../pipelines/pipeline.ts';
import type { OutputType } from '../stages/picture.ts';
import { ClientLoras, type ClientLoraOptions, type ClientLoraSource } from './client-loras.ts';
import type {
  ClientProgress,
  EngineStats,
  ModelInfo,
  ModelSpec,
  Order,
  PipelineService,
  SentOptions,
  WireDecoder,
  WireFetching,
  WireSource,
} from './messages.ts';
import { cpuWorker } from './cpu-link.ts';
import { GenerationHandle } from './generation-handle.ts';

registerAllErrors();

/**
 * Who shares an engine:
 * - `tabs`: all tabs of the origin, in a shared worker where those have WebGPU, else in the worker of one of them
 * - `leader`: the same, always in the worker of one tab
 * - `none`: nobody, this client has a worker of its own
 */
export type Sharing = 'tabs' | 'leader' | 'none';

export interface ClientOptions extends Omit<
  LoadOptions,
  'engine' | 'controlnet' | 'decoder' | 'previewDecoder' | 'cache' | 'fetching' | 'memoryBudget' | 'onFetch'
> {
  /** Whether files from URLs are kept in the origin's cache. Default true. */
  cache?: boolean;
  /** How files are fetched from URLs: digests to check, requests at once, retries. No `fetch`: functions cannot be sent. */
  fetching?: WireFetching;
  /** Hears of bytes that come from URLs or were in the cache, whoever's request they come for. */
  onFetch?: (progress: FetchProgress) => void;
  /** See `LoadOptions`; what can be sent to a worker. */
  decoder?: WireDecoder;
  previewDecoder?: WireDecoder;
  /** Default `tabs`. */
  sharing?: Sharing;
  /**
   * Makes workers that run this package's `gpu-worker` entry, where a bundler cannot find it by itself: one at first, and
   * another whenever the one before has ended. Not used for shared workers.
   */
  worker?: () => Worker;
  /**
   * Share of the time that the GPU may work for generations, above 0 and at most 1. Less leaves the rest to the page's own
   * frames, and makes generations slower. Of all who share an engine the least counts. Default 1.
   */
  gpuShare?: number;
  /**
   * Most bytes of GPU memory that the engine may hold, above 0. Stages that do not fit beside each other take turns
   * (`EngineOptions.memoryBudget`); what does not fit alone is refused with `OutOfMemoryError`. Of all who share an engine
   * the least counts, for everything on it, while its client lives; also on the next device, after a loss. Default: no limit.
   */
  memoryBudget?: number;
}

/** Options of a generation in a worker: steps report through `onProgress`, tensors stay there. */
export interface ClientGenerateOptions<T extends OutputType> extends SentOptions<T>, Order {
  signal?: AbortSignal;
  onProgress?: (progress: ClientProgress) => void;
  /** Steps between previews of the first image, which arrive with `onProgress`. Default: none. */
  previewEvery?: number;
  /** What recordings call the request. Default: `request` and its number. */
  name?: string;
}

/**
 * A text-to-image pipeline in a worker, so that the page is never blocked. Any number of generations may be asked for at
 * once: they are interleaved and batched with each other and with those of other tabs. Errors arrive as their own
 * classes. When the device, the worker or the tab that an engine runs in is lost, generations go on on the next one.
 *
 * @example
 * using client = await TextToImageClient.fromPretrained('/models/sd-turbo/');
 * const { images } = await client.generate({ prompt: 'a lighthouse at night', signal, onProgress: console.log });
 */
export class TextToImageClient {
  readonly info: ModelInfo;
  readonly #client: Client<PipelineService>;
  readonly #model: ModelSpec;
  readonly #loras: ClientLoras;
  /** Workers started for an engine that cannot. */
  readonly #lent: readonly WorkerLink[];
  /** Whether recordings have kernels. */
  #kernels = false;

  private constructor(
    client: Client<PipelineService>,
    model: ModelSpec,
    info: ModelInfo,
    lent: readonly WorkerLink[],
  ) {
    this.#client = client;
    this.#model = model;
    this.info = info;
    this.#loras = new ClientLoras((lora, signal, onEvent) =>
      client.call('holdLora', { model, lora }, { resumable: true, signal, onEvent }),
    );
    this.#lent = lent;
  }

  /** Loads a model in a worker. Throws what `TextToImagePipeline.fromPretrained` throws, and `WorkerCrashedError`. */
  static async fromPretrained(
    source: WireSource | URL,
    options: ClientOptions = {},
  ): Promise<TextToImageClient> {
    const { precision, weights, cache, fetching, warmUp, decoder, previewDecoder } = options;
    const { gpuShare = 1, memoryBudget = Infinity, signal, onProgress, onFetch } = options;
    if (!(gpuShare > 0 && gpuShare <= 1)) {
      throw new OptionError('gpuShare', `expected above 0 and at most 1, got ${gpuShare}.`);
    }
    if (!(memoryBudget > 0)) {
      throw new OptionError('memoryBudget', `expected bytes above 0, got ${memoryBudget}.`);
    }
    if (fetching) checkFetching(fetching);
    const model: ModelSpec = {
      // Relative URLs mean the page's, not the worker's.
      source: absolute(source),
      ...(precision && { precision }),
      ...(weights && { weights }),
      ...(cache !== undefined && { cache }),
      ...(fetching && { fetching }),
      ...(warmUp !== undefined && { warmUp }),
      ...(decoder !== undefined && { decoder: absoluteDecoder(decoder) }),
      ...(previewDecoder !== undefined && { previewDecoder: absoluteDecoder(previewDecoder) }),
    };
    const client = new Client<PipelineService>(linkFor(options));
    const lent: WorkerLink[] = [];
    let isLoaded = false;
    // Until the model is there; from then on it is held as long as the client lives.
    const loading = new AbortController();
    const abort = (): void => loading.abort(signal!.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const info = await new Promise<ModelInfo>((resolve, reject) => {
        const held = client.call(
          'hold',
          { model, gpuShare, memoryBudget },
          {
            resumable: true,
            signal: loading.signal,
            onEvent: (event) => {
              if (event.type === 'fetch') onFetch?.(event.progress);
              else if (event.type === 'lend') void lendWorker(client, lent, event.id);
              else if (event.type === 'ready') {
                isLoaded = true;
                resolve(event.info);
              }
              // Other sizes and batches are made ready later, without anybody waiting for a model.
              else if (!isLoaded) onProgress?.(event.progress);
            },
          },
        );
        // Later it fails only with what generations meet too.
        held.catch(reject);
      });
      return new TextToImageClient(client, model, info, lent);
    } catch (error) {
      client.dispose();
      for (const worker of lent) worker.dispose();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /**
   * Makes pictures. See `TextToImagePipeline.generate`; with `image` see `ImageToImagePipeline`, with `maskImage` too
   * `InpaintPipeline`.
   *
   * @throws what those throw; QueueFullError when too many requests wait already
   */
  generate<T extends OutputType = 'bitmap'>(options: ClientGenerateOptions<T>): Promise<GenerateResult<T>> {
    return this.submit(options).result;
  }

  /** Asks for pictures, and gives a handle to follow, reorder or cancel the request by. */
  submit<T extends OutputType = 'bitmap'>(options: ClientGenerateOptions<T>): GenerationHandle<T> {
    const { signal, onProgress, previewEvery, name, priority, deadlineMs, ...sent } = options;
    const order: Order = {
      ...(priority !== undefined && { priority }),
      ...(deadlineMs !== undefined && { deadlineMs }),
    };
    const id = crypto.randomUUID();
    const loras = this.#loras.acting;
    return new GenerationHandle<T>(
      (signal, onEvent) =>
        this.#client.call(
          'generate',
          {
            id,
            name,
            sent: performance.timeOrigin + performance.now(),
            model: this.#model,
            options: sent,
            order,
            loras,
            previewEvery,
          },
          { signal, onEvent, resumable: true },
        ) as Promise<GenerateResult<T>>,
      (changes) => this.#client.call('reorder', { id, ...changes }),
      { signal, onProgress },
    );
  }

  /** Names of the samplers that the model can be sampled with, for the option `sampler`. */
  samplerNames(): Promise<string[]> {
    return this.#client.call('samplers', { model: this.#model }, { resumable: true });
  }

  /** LoRAs that this client has loaded, in the order of loading. */
  get loras(): readonly Lora[] {
    return this.#loras.loras;
  }

  /**
   * Loads a LoRA, for this client's requests and no others'. Every request runs with the LoRAs and scales of the moment
   * when it was made, also after a loss of the device or the worker. Requests whose LoRAs differ do not run at the same
   * time: one waits until those under way are through.
   *
   * @throws LoraError for a file that is no LoRA or was made for another model; SourceError, WeightUpdateError, the
   *   signal's reason. Nothing is changed then.
   */
  loadLora(source: ClientLoraSource, options: ClientLoraOptions = {}): Promise<Lora> {
    return this.#loras.load(source, options);
  }

  /** Changes how strongly a LoRA acts on requests made from now on. Throws `LoraError` for one that is not loaded. */
  setLoraScale(lora: Lora, scale: number): void {
    this.#loras.setScale(lora, scale);
  }

  /** Takes a LoRA away: requests made from now on run with weights that are the model's own again, bit by bit. */
  unloadLora(lora: Lora): void {
    this.#loras.unload(lora);
  }

  /**
   * Starts recording what the engine does, for all who share it.
   *
   * @param options.kernels every dispatch too, where the browser has `timestamp-query`; makes everything slower meanwhile
   */
  async startRecording(options: { kernels?: boolean } = {}): Promise<void> {
    this.#kernels = options.kernels ?? false;
    await this.#record(true);
  }

  /**
   * What was recorded since the start or since this was last called; the recording goes on. `undefined` where none was
   * started, or the engine was lost meanwhile.
   */
  takeRecording(): Promise<Trace | undefined> {
    return this.#record(true);
  }

  /** Ends the recording and gives the rest of it. `undefined` as from `takeRecording`. */
  stopRecording(): Promise<Trace | undefined> {
    return this.#record(false);
  }

  async #record(on: boolean): Promise<Trace | undefined> {
    const recording = await this.#client.call('record', { on, kernels: this.#kernels });
    if (!recording) return undefined;
    const trace = new Trace(recording.start);
    for (const span of recording.spans) trace.add(span);
    return trace;
  }

  /** What the engine holds and does, for all who share it. */
  stats(): Promise<EngineStats> {
    return this.#client.call('stats', undefined);
  }

  /** Lets go of the model and the engine; generations under way reject with `WorkerCrashedError`. Idempotent. */
  dispose(): void {
    this.#client.dispose();
    for (const worker of this.#lent) worker.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Starts a worker for an engine that asks for one, and sends it a port there. */
async function lendWorker(client: Client<PipelineService>, lent: WorkerLink[], id: string): Promise<void> {
  const worker = cpuWorker();
  lent.push(worker);
  try {
    await worker.connect(crypto.randomUUID());
    await client.call('lend', { id, port: worker.port() });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // An engine that is gone asks for nothing any more.
    await client.call('lend', { id, reason }).catch(() => {});
  }
}

function linkFor({ sharing = 'tabs', worker }: ClientOptions): Link {
  const own =
    worker ??
    ((): Worker =>
      new Worker(new URL('./gpu-worker.ts', import.meta.url), { type: 'module', name: 'calotype' }));
  if (sharing === 'none') return new WorkerLink(own);
  // Only the same code can share: another version may speak another language.
  const group = `calotype ${new URL('./gpu-worker.ts', import.meta.url).href}`;
  const leader = (): Link => new LeaderLink(group, own);
  if (worker || sharing === 'leader' || typeof SharedWorker === 'undefined') return leader();
  const shared = (): Link =>
    new SharedWorkerLink(
      () =>
        new SharedWorker(new URL('./gpu-worker.ts', import.meta.url), { type: 'module', name: 'calotype' }),
    );
  return new FirstUsableLink([shared, leader]);
}

/** Types let through what has more than they name, such as a pipeline's options. */
function checkFetching(fetching: WireFetching): void {
  for (const [name, value] of Object.entries(fetching)) {
    if (typeof value !== 'function') continue;
    throw new OptionError(
      `fetching.${name}`,
      'a function cannot be sent to a worker. Leave it out, or use a TextToImagePipeline.',
    );
  }
}

/** A source with its URL, if it has one, as the page means it. */
function absolute(source: WireSource | URL): WireSource {
  return typeof source === 'string' || source instanceof URL ? new URL(source, location.href).href : source;
}

function absoluteDecoder(decoder: WireDecoder): WireDecoder {
  if (typeof decoder === 'object' && 'source' in decoder && typeof decoder.source === 'string') {
    return { ...(decoder as Exclude<WireDecoder, WireSource>), source: absolute(decoder.source) };
  }
  return absolute(decoder as WireSource);
}
