export { ModelCache } from '@calotype/core';
export type {
  CachedModel,
  CachedModelFile,
  CachedStoreOptions,
  FetchProgress,
  FileReport,
  ModelCacheOptions,
  StoreReport,
} from '@calotype/core';
export * from './errors.ts';
export * from './lora/index.ts';
export { ModelFolder, type ModelSource } from './model/folder.ts';
export { generationDefaultsOf, type GenerationDefaults, type ModelFacts } from './model/facts.ts';
export type { Colour, LatentColours } from './stages/preview.ts';
export { DiffusionModel } from './model/model.ts';
export type { Family } from './families/index.ts';
export type {
  ControlOptions,
  GenerateOptions,
  GenerateProgress,
  HeightWidth,
  LoadOptions,
  LoadProgress,
  PreviewOptions,
  PromptOptions,
  StepState,
  Timings,
  WeightsOption,
} from './pipelines/options.ts';
export {
  interpolateEmbeddings,
  type EncodePromptOptions,
  type PromptEmbeddings,
} from './pipelines/embeddings.ts';
export { Generation, type GenerationCheckpoint } from './pipelines/generation.ts';
export { ImageToImagePipeline, type ImageToImageOptions } from './pipelines/image-to-image.ts';
export { InpaintPipeline, type InpaintOptions } from './pipelines/inpaint.ts';
export { DiffusionPipeline, type GenerateResult } from './pipelines/pipeline.ts';
export { TextToImagePipeline, type TextToImageOptions } from './pipelines/text-to-image.ts';
export * from './memory/index.ts';
export * from './prompt/index.ts';
export { TorchGenerator } from './random/index.ts';
export * from './samplers/index.ts';
export type { Conditioning } from './stages/conditioning.ts';
export type { DecoderOptions, DecoderSource } from './model/decoder.ts';
export type { TilingOptions } from './stages/decode-latents.ts';
export type { OutputType, OutputTypes, PixelRange } from './stages/picture.ts';
export { Denoiser } from './stages/denoise.ts';
export {
  DenoiseJob,
  type DenoiseCheckpoint,
  type DenoiseRequest,
  type Guidance,
} from './stages/denoise-job.ts';
export type { ImageInput } from './stages/image-input.ts';
export * from './tokenizer/index.ts';
export {
  TextToImageClient,
  type ClientGenerateOptions,
  type ClientOptions,
  type Sharing,
} from './worker/client.ts';
export type { ClientLoraOptions, ClientLoraSource } from './worker/client-loras.ts';
export { cpuWorker } from './worker/cpu-link.ts';
export { DiffusionEngine, type DiffusionEngineOptions } from './worker/diffusion-engine.ts';
export { GenerationHandle } from './worker/generation-handle.ts';
export type {
  ClientProgress,
  EngineStats,
  HoldEvent,
  ModelInfo,
  ModelSpec,
  Order,
  WireFetching,
} from './worker/messages.ts';
export {
  isRequestTrack,
  QueueFullError,
  Trace,
  WorkerCrashedError,
  type ChromeTrace,
  type Span,
} from '@calotype/scheduler';
