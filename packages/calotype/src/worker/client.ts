import {
  CalotypeError,
  DeviceLostError,
  DisposedError,
  InvalidModelError,
  NumericError,
  OutOfMemoryError,
  ShaderError,
  ShapeError,
  SourceError,
  UnsupportedDeviceError,
  UnsupportedOpError,
} from '@calotype/core';
import { Client, registerErrors } from '@calotype/scheduler';
import * as errors from '../errors.ts';
import type { GenerateOptions, LoadOptions } from '../pipelines/options.ts';
import type { GenerateResult } from '../pipelines/pipeline.ts';
import type { OutputType } from '../stages/decode-latents.ts';
import type { ModelInfo, PipelineService, WireSource } from './service.ts';

// By name: the page needs the errors of core, not its engine.
registerErrors(
  CalotypeError,
  DeviceLostError,
  DisposedError,
  InvalidModelError,
  NumericError,
  OutOfMemoryError,
  ShaderError,
  ShapeError,
  SourceError,
  UnsupportedDeviceError,
  UnsupportedOpError,
  ...Object.values(errors),
);

export interface ClientOptions extends Omit<LoadOptions, 'engine'> {
  /** A worker that runs this package's `gpu-worker` entry. Default: one made here. */
  worker?: Worker;
}

/** Options of a generation in a worker: steps report through `onProgress`, tensors stay there. */
export type ClientGenerateOptions<T extends OutputType> = Omit<GenerateOptions<T>, 'onStep' | 'noise'>;

/**
 * A text-to-image pipeline in a worker of its own, so that the page is never blocked. The same calls as
 * `TextToImagePipeline`; errors arrive as their own classes.
 *
 * @example
 * using client = await TextToImageClient.fromPretrained('/models/sd-turbo/');
 * const { images } = await client.generate({ prompt: 'a lighthouse at night', signal, onProgress: console.log });
 */
export class TextToImageClient {
  readonly info: ModelInfo;
  readonly #client: Client<PipelineService>;

  private constructor(client: Client<PipelineService>, info: ModelInfo) {
    this.#client = client;
    this.info = info;
  }

  /** Loads a model in a worker. Throws what `TextToImagePipeline.fromPretrained` throws, and `WorkerCrashedError`. */
  static async fromPretrained(
    source: WireSource | URL,
    options: ClientOptions = {},
  ): Promise<TextToImageClient> {
    const worker =
      options.worker ??
      new Worker(new URL('./gpu-worker.ts', import.meta.url), { type: 'module', name: 'calotype' });
    const client = new Client<PipelineService>(worker);
    try {
      const info = await client.call(
        'load',
        {
          // Relative URLs mean the page's, not the worker's.
          source:
            typeof source === 'string' || source instanceof URL
              ? new URL(source, location.href).href
              : source,
          ...(options.precision ? { precision: options.precision } : {}),
          ...(options.warmUp ? { warmUp: options.warmUp } : {}),
        },
        { signal: options.signal, onEvent: options.onProgress },
      );
      return new TextToImageClient(client, info);
    } catch (error) {
      client.dispose();
      throw error;
    }
  }

  /** Makes pictures. See `TextToImagePipeline.generate`. */
  async generate<T extends OutputType = 'bitmap'>(
    options: ClientGenerateOptions<T>,
  ): Promise<GenerateResult<T>> {
    const { signal, onProgress, ...input } = options;
    const result = await this.#client.call('generate', input, { signal, onEvent: onProgress });
    return result as GenerateResult<T>;
  }

  /** Ends the worker and frees everything it held. Idempotent. */
  dispose(): void {
    this.#client.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
