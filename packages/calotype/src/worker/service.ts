import type { Job } from '@calotype/scheduler';
import type { Precision } from '@calotype/core';
import type { GenerateOptions, GenerateProgress, LoadOptions, LoadProgress } from '../pipelines/options.ts';
import type { GenerateResult } from '../pipelines/pipeline.ts';
import { TextToImagePipeline } from '../pipelines/text-to-image.ts';
import type { OutputType } from '../stages/decode-latents.ts';

/** A model source that can be sent to a worker: URL, directory handle or blobs. */
export type WireSource = string | FileSystemDirectoryHandle | Readonly<Record<string, Blob>>;

/** Options of a generation that can be sent to a worker. */
export type WireGenerateOptions<T extends OutputType> = Omit<
  GenerateOptions<T>,
  'signal' | 'onProgress' | 'onStep' | 'noise'
>;

/** What the page learns of a loaded model. */
export interface ModelInfo {
  /** Adapter that it runs on. */
  adapter: string;
  precision: Precision;
  /** Pixels along each axis that the model was trained for. */
  defaultSize: number;
}

/** The jobs of the worker that owns the GPU. One model at a time. */
// A type, not an interface: only those fit the index signature of `Service`.
export type PipelineService = {
  /** Loads a model in place of the one before. */
  load: Job<
    { source: WireSource; precision?: Precision; warmUp?: LoadOptions['warmUp'] },
    ModelInfo,
    LoadProgress
  >;
  generate: Job<WireGenerateOptions<OutputType>, GenerateResult<OutputType>, GenerateProgress>;
  unload: Job<undefined, void>;
};

let pipeline: TextToImagePipeline | undefined;

export const service: PipelineService = {
  async load(input, { signal, emit }) {
    pipeline?.dispose();
    pipeline = undefined;
    pipeline = await TextToImagePipeline.fromPretrained(input.source, {
      ...(input.precision ? { precision: input.precision } : {}),
      ...(input.warmUp ? { warmUp: input.warmUp } : {}),
      signal,
      onProgress: emit,
    });
    const { engine, defaultSize } = pipeline;
    return { adapter: engine.capabilities.adapter, precision: engine.precision, defaultSize };
  },

  async generate(input, { signal, emit }) {
    if (!pipeline) throw new Error('Internal error: generate before load');
    return pipeline.generate({ ...input, signal, onProgress: emit });
  },

  async unload() {
    pipeline?.dispose();
    pipeline = undefined;
  },
};
