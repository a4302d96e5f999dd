import type { Engine, Precision, Tensor } from '@calotype/core';
import type { SchedulerConfig } from '../samplers/index.ts';
import type { OutputType } from '../stages/decode-latents.ts';

/** What loading a model reports. */
export interface LoadProgress {
  /** Component that is being loaded, e.g. `unet`. */
  component: string;
  /** What is being done with it. */
  stage: string;
  done: number;
  total: number;
}

export interface LoadOptions {
  /** Engine to run on. Without one the pipeline makes its own and disposes of it. */
  engine?: Engine;
  /** See `EngineOptions.precision`. */
  precision?: Precision;
  /**
   * Size of the pictures to get ready for while loading: kernels are compiled and memory is allocated for it. The
   * model's own size by default. Any other size still works; its first picture takes longer.
   */
  warmUp?: { width?: number; height?: number };
  signal?: AbortSignal;
  onProgress?: (progress: LoadProgress) => void;
}

/** What happens during a generation, in order: every stage starts once; denoising reports every step. */
export type GenerateProgress =
  | { stage: 'encode' }
  | { stage: 'denoise'; step: number; steps: number }
  | { stage: 'decode'; image: number; images: number };

/** State after one denoising step. */
export interface StepState {
  /** 0 for the first model call. */
  step: number;
  /** Model calls in all; second-order samplers make two a step. */
  steps: number;
  timestep: number;
  /** [images, channels, height / 8, width / 8] on the GPU; valid until the next step. */
  latents: Tensor<'float32'>;
}

export interface GenerateOptions<T extends OutputType = 'bitmap'> {
  prompt: string;
  /** What to steer away from. Only with guidance. Default: nothing, which is the empty prompt. */
  negativePrompt?: string;
  /** Denoising steps. Default 25. */
  numInferenceSteps?: number;
  /** Classifier-free guidance; 1 or less is none, and halves the work. Default 7.5. */
  guidanceScale?: number;
  /** Pixels. Default: the model's own size. */
  width?: number;
  height?: number;
  /**
   * Seed of torch's CPU generator, or one for each image. The same seed gives the picture that diffusers gives.
   * Default: random, and returned.
   */
  seed?: number | readonly number[];
  /** Start noise [images, channels, height / 8, width / 8], before the sampler's scaling. Takes the place of the seed's. */
  latents?: Float32Array<ArrayBuffer>;
  /** Noise that samplers draw while they run, call by call. Takes the place of the seed's. */
  noise?: (draw: number) => Float32Array<ArrayBuffer>;
  /** Sampler by name or config. Default: the model's own. */
  sampler?: string | SchedulerConfig;
  /** DDIM: 0 is deterministic, 1 is DDPM. */
  eta?: number;
  numImages?: number;
  /** Default `bitmap`. */
  output?: T;
  signal?: AbortSignal;
  onProgress?: (progress: GenerateProgress) => void;
  /** Called after every step; the next one waits for it. */
  onStep?: (state: StepState) => void | Promise<void>;
}

/** How long each stage took, in milliseconds of wall time. */
export interface Timings {
  encodeMs: number;
  denoiseMs: number;
  decodeMs: number;
  totalMs: number;
}
