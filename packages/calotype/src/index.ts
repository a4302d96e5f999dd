export * from './errors.ts';
export * from './lora/index.ts';
export { ModelFolder, type ModelSource } from './model/folder.ts';
export type {
  GenerateOptions,
  GenerateProgress,
  LoadOptions,
  LoadProgress,
  StepState,
  Timings,
} from './pipelines/options.ts';
export { TextToImagePipeline, type GenerateResult } from './pipelines/text-to-image.ts';
export * from './prompt/index.ts';
export { TorchGenerator } from './random/index.ts';
export * from './samplers/index.ts';
export type { OutputType, OutputTypes } from './stages/decode-latents.ts';
export * from './tokenizer/index.ts';
export { TextToImageClient, type ClientGenerateOptions, type ClientOptions } from './worker/client.ts';
