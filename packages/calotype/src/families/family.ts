import type { Engine, Session } from '@calotype/core';
import { ModelFolderError } from '../errors.ts';
import type { GenerationDefaults, ModelFacts } from '../model/facts.ts';
import type { PromptOptions } from '../pipelines/options.ts';
import type { Sampler, SamplerOptions } from '../samplers/index.ts';
import type { Conditioning } from '../stages/conditioning.ts';
import type { DenoiserLayout } from '../stages/denoise.ts';
import type { StageKernels } from '../stages/kernels.ts';
import type { TextEncoder } from '../stages/text-encoder.ts';

/** The parts of a loaded model that encoding a prompt may use. */
export interface EncodeContext {
  readonly engine: Engine;
  readonly kernels: StageKernels;
  readonly facts: ModelFacts;
  /** By component: `text_encoder`, `text_encoder_2`, … */
  readonly encoders: ReadonlyMap<string, TextEncoder>;
  /** The denoiser's graph. */
  readonly denoiser: Session;
}

/** How strictly a request follows its prompt. */
export interface GuidanceChoice {
  /** Scale of classifier-free guidance; `undefined` for none. */
  scale: number | undefined;
  /** Scale that the model itself gets, if it was taught one. */
  embedded: number | undefined;
}

/** What a prompt is encoded for. */
export interface EncodeRequest {
  options: PromptOptions;
  guidance: GuidanceChoice;
  /** Latents [images, channels, height, width] */
  shape: readonly number[];
  /** Of the picture. */
  width: number;
  height: number;
  signal: AbortSignal | undefined;
}

/** What a sampler is to lay out. */
export interface ScheduleRequest {
  facts: ModelFacts;
  sampler: Sampler;
  /** Latents [images, channels, height, width] */
  shape: readonly number[];
  steps: number;
  options: SamplerOptions;
}

/** What models of one architecture have in common. The graphs' inputs tell which family a folder is of. */
export interface Family {
  readonly name: string;
  readonly layout: DenoiserLayout;
  /** What is taken where neither the caller nor the model's folder says anything. */
  readonly defaults: GenerationDefaults;
  /** Pixels along each axis, where the config names no size. */
  readonly defaultSize: number;
  guidance(context: EncodeContext, options: PromptOptions): GuidanceChoice;
  /** Completes what the sampler is asked for with what the family's schedule depends on beside the steps. */
  schedule?(request: ScheduleRequest): SamplerOptions;
  /** Shape that diffusers draws noise in, and how that noise becomes latents. */
  noise?: {
    shape(latents: readonly number[]): number[];
    arrange(values: Float32Array<ArrayBuffer>, latents: readonly number[]): Float32Array<ArrayBuffer>;
  };
  /** What a prompt is wrapped in before it is tokenized, where that is more than the prompt. */
  template?(prompt: string): string;
  encode(context: EncodeContext, request: EncodeRequest): Promise<Conditioning>;
  /** Tokens that the denoiser attends to. */
  tokens(context: Pick<EncodeContext, 'encoders'>, options: PromptOptions): number;
}

/** Tokens of a text that CLIP encoders read at a time. */
export function clipTokens({ encoders }: Pick<EncodeContext, 'encoders'>): number {
  const [encoder] = encoders.values();
  return encoder?.tokenizer.maxLength ?? 77;
}

/** The encoder of a component. Throws `ModelFolderError` where the folder has none. */
export function encoderOf({ encoders }: EncodeContext, component: string): TextEncoder {
  const encoder = encoders.get(component);
  if (encoder) return encoder;
  throw new ModelFolderError(
    `${component}/model.onnx`,
    'is missing, and prompts need it. Without it, give the embeddings of a prompt (promptEmbeds).',
  );
}

/** Guidance as most families have it: two branches, unless the scale is 1 or less. */
export function classifierFree(scale: number | undefined): Pick<GuidanceChoice, 'scale'> {
  return { scale: scale !== undefined && scale > 1 ? scale : undefined };
}

/** Whether a graph takes this input. */
export function takes(session: Session, input: string): boolean {
  return session.inputs.some(({ name }) => name === input);
}
