import type { CachedStoreOptions, FetchProgress, FileStore, Precision } from '@calotype/core';
import type { Job, Span } from '@calotype/scheduler';
import type { Lora } from '../lora/index.ts';
import type { DecoderOptions } from '../model/decoder.ts';
import type { GenerationDefaults } from '../model/facts.ts';
import type { ImageToImageOptions } from '../pipelines/image-to-image.ts';
import type { InpaintOptions } from '../pipelines/inpaint.ts';
import type { GenerateOptions, GenerateProgress, LoadOptions, LoadProgress } from '../pipelines/options.ts';
import type { GenerateResult } from '../pipelines/pipeline.ts';
import type { OutputType } from '../stages/picture.ts';
import type { CpuPlace } from './cpu-thread.ts';

/** A model source that can be sent to a worker: URL, directory handle or blobs. */
export type WireSource = string | FileSystemDirectoryHandle | Readonly<Record<string, Blob>>;

/** A decoder of its own, where it can be sent to a worker. */
export type WireDecoder = WireSource | (Omit<DecoderOptions, 'source'> & { source: WireSource });

/** How files are fetched, where it can be sent to a worker: all but functions. */
export type WireFetching = Omit<CachedStoreOptions, 'fetch' | 'onProgress'>;

/** A LoRA as a worker gets it. Those of one model with the same `id` are the same. */
export interface SentLora {
  id: string;
  source: string | Blob;
  name?: string;
  allowUnmatched?: boolean;
}

/** A LoRA that a request runs with. */
export interface ActingLora extends SentLora {
  scale: number;
}

/** A model and how it is loaded. Equal ones of one engine share weights. */
export interface ModelSpec {
  /** A store is for engines in the same thread only. */
  source: WireSource | FileStore;
  /** Tells that two sources which are no URLs are the same: what was sent is a copy each time. */
  name?: string;
  precision?: Precision;
  weights?: LoadOptions['weights'];
  cache?: boolean;
  fetching?: WireFetching;
  warmUp?: LoadOptions['warmUp'];
  decoder?: WireDecoder;
  previewDecoder?: WireDecoder;
}

/** Options that cannot be sent to a worker, or mean something else there. */
type Unsendable =
  | 'signal'
  | 'onProgress'
  | 'onStep'
  | 'noise'
  | 'preview'
  | 'promptEmbeds'
  | 'negativePromptEmbeds'
  | 'pooledPromptEmbeds'
  | 'negativePooledPromptEmbeds';

/** Options of a generation that can be sent. With `image` it is image-to-image, with `maskImage` inpainting. */
export type SentOptions<T extends OutputType> = Omit<GenerateOptions<T>, Unsendable> &
  Partial<Pick<ImageToImageOptions, 'image' | 'strength'> & Pick<InpaintOptions, 'maskImage'>>;

/** A request's place in the order. */
export interface Order {
  /** Higher goes first. Default 0. */
  priority?: number;
  /** Milliseconds from now within which it should be done. Of requests of one priority, the most urgent goes first. */
  deadlineMs?: number;
}

/**
 * What happens to a request, in order: `queued` whenever its place in the queue changes, then as in a pipeline's own
 * progress. `remainingMs` guesses the time left, from what requests have taken so far.
 */
export type ClientProgress =
  | { stage: 'queued'; position: number; remainingMs?: number | undefined }
  /** The device or the worker was lost; it goes on from its last checkpoint. */
  | { stage: 'restarted'; reason: string }
  | (GenerateProgress & { remainingMs?: number | undefined });

/** What the page learns of a loaded model. */
export interface ModelInfo {
  /** Adapter that it runs on. */
  adapter: string;
  precision: Precision;
  /** Pixels along each axis that the model was trained for. */
  defaultSize: number;
  /** Steps and guidance where a request names none. */
  defaults: GenerationDefaults;
  /** What in the model's configs has no effect here, each in a sentence; empty for most models. */
  warnings: readonly string[];
}

/** A LoRA has been found to fit. */
export type LoraEvent = { type: 'ready' } & Pick<Lora, 'name' | 'layers' | 'skipped'>;

/** What happens to a model, for all who hold it. */
export type LoadEvent =
  { type: 'progress'; progress: LoadProgress } | { type: 'fetch'; progress: FetchProgress };

/** What loading reports; `ready` may come again, after a loss. */
export type HoldEvent =
  | LoadEvent
  | { type: 'ready'; info: ModelInfo }
  /** The engine runs where no workers can be started, and asks for one (`lend`). */
  | { type: 'lend'; id: string };

/** What a client allows its engine; see `ClientOptions`. */
export interface EngineLimits {
  gpuShare?: number | undefined;
  memoryBudget?: number | undefined;
}

export interface HoldInput extends EngineLimits {
  model: ModelSpec;
}

export interface GenerateInput {
  /** Name by which `reorder` finds the request. */
  id: string;
  /** What traces call it. */
  name?: string | undefined;
  /** When it was sent, in milliseconds since 1970. */
  sent?: number | undefined;
  model: ModelSpec;
  options: SentOptions<OutputType>;
  order: Order;
  loras?: readonly ActingLora[];
  /** Steps between previews; `undefined` for none. */
  previewEvery?: number | undefined;
}

/** What an engine holds and does. */
export interface EngineStats {
  /** Requests that have not settled. */
  requests: number;
  /** Those of them that have left the queue. */
  active: number;
  /** Models loaded or being loaded. */
  models: number;
  /** Bytes of GPU memory in use, weights included. */
  gpuBytes: number;
  /** Buffers in use. */
  gpuBuffers: number;
  /** Where the engine runs. */
  thread: 'shared-worker' | 'worker' | 'page';
  /** Where files are fetched, checked and parsed, prompts tokenized, pictures decoded and encoded. */
  cpu: CpuPlace;
}

/** What was recorded, on the engine's clock. */
export interface Recording {
  spans: Span[];
  /** When it began. */
  start: number;
}

/** The jobs of the thread that owns the GPU. */
// A type, not an interface: only those fit the index signature of `Service`.
export type PipelineService = {
  /** Loads a model and keeps it until the job is aborted. */
  hold: Job<HoldInput, void, HoldEvent>;
  /** Loads a LoRA and keeps it until the job is aborted. `ready` may come again, after a loss. */
  holdLora: Job<{ model: ModelSpec; lora: SentLora }, void, LoraEvent>;
  generate: Job<GenerateInput, GenerateResult<OutputType>, ClientProgress>;
  /** Names of the samplers that a model can be sampled with. */
  samplers: Job<{ model: ModelSpec }, string[]>;
  reorder: Job<{ id: string } & Order, void>;
  /** Answers a `lend` event: with a port to a worker that serves `CpuService`, or why there is none. */
  lend: Job<{ id: string; port: MessagePort } | { id: string; reason: string }, void>;
  /** Starts recording, or ends it and gives what was recorded. */
  record: Job<{ on: boolean; kernels?: boolean }, Recording | undefined>;
  stats: Job<undefined, EngineStats>;
};
