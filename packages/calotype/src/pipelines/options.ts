import type {
  CachedStoreOptions,
  Engine,
  FetchProgress,
  ModelCache,
  Precision,
  Tensor,
  WeightFormat,
} from '@calotype/core';
import type { DecoderSource } from '../model/decoder.ts';
import type { ModelSource } from '../model/folder.ts';
import type { SchedulerConfig } from '../samplers/index.ts';
import type { TilingOptions } from '../stages/decode-latents.ts';
import type { OutputType } from '../stages/picture.ts';
import type { ImageInput } from '../stages/image-input.ts';

/** What loading a model reports. */
export interface LoadProgress {
  /** Component that is being loaded, e.g. `unet`. */
  component: string;
  /** What is being done with it. */
  stage: string;
  done: number;
  total: number;
}

/** A format for all components, or by the component's folder. */
export type WeightsOption = WeightFormat | Readonly<Record<string, WeightFormat>>;

export interface LoadOptions {
  /** Engine to run on. Without one the model makes its own and disposes of it. */
  engine?: Engine;
  /** See `EngineOptions.precision`. */
  precision?: Precision;
  /**
   * What to make of float weights while they load: `int8` and `int4` take a half and a quarter of float16's memory, `f16`
   * half of float32's (docs/quantization.md). One for all components, of which `vae_encoder` and `vae_decoder` then stay
   * float16 at least; or by component, `{ unet: 'int4', text_encoder: 'int8' }`. `as-stored` by default.
   */
  weights?: WeightsOption;
  /** Most bytes of GPU memory to hold. See `EngineOptions.memoryBudget`; an engine given has its own. */
  memoryBudget?: number;
  /**
   * Where files from URLs are kept: the origin's cache by default, `false` for nowhere. Where the browser has no storage
   * for it, they are streamed; `model.storeReports()` says so.
   */
  cache?: ModelCache | boolean;
  /** How files are fetched from URLs: digests to check, requests at once, retries. */
  fetching?: Omit<CachedStoreOptions, 'onProgress'>;
  /** Folder of a ControlNet (its `model.onnx`), where the model's own folder has none in `controlnet/`. */
  controlnet?: ModelSource;
  /** A decoder in place of the folder's `vae_decoder`, which is then not loaded: TAESD, or one made for float16. */
  decoder?: DecoderSource;
  /** A small decoder beside it, such as TAESD: for previews, and for pictures with `decodeWith: 'previewDecoder'`. */
  previewDecoder?: DecoderSource;
  /**
   * Size of the pictures to get ready for while loading: kernels are compiled and memory is allocated for it. The
   * model's own size by default; `false` for none, and then the first picture takes longer.
   */
  warmUp?: { width?: number; height?: number } | false;
  signal?: AbortSignal;
  onProgress?: (progress: LoadProgress) => void;
  /** Hears of bytes that come from URLs or were in the cache. */
  onFetch?: (progress: FetchProgress) => void;
}

/** What happens during a generation, in order: every stage starts once; denoising reports every step. */
export type GenerateProgress =
  | { stage: 'encode' }
  /** With `preview`, at the steps that it names: what the first picture will look like. The listener's to close. */
  | { stage: 'denoise'; step: number; steps: number; preview?: ImageBitmap }
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
  /** With `preview`, at the steps that it names: a picture for each image, the first that of `onProgress`. Yours to close. */
  previews?: readonly ImageBitmap[];
}

/** One of a model's decoders. */
export type DecoderChoice = 'decoder' | 'previewDecoder';

/** Pictures of what becomes of the noise, while it does. */
export interface PreviewOptions {
  /** Steps from one to the next. Default 1. */
  every?: number;
  /**
   * `latents`: as large as the latents, for next to nothing. `previewDecoder`: in full size, by the small decoder that was
   * loaded. Default: that decoder, where there is one.
   */
  by?: 'latents' | 'previewDecoder';
}

/** A height and a width in pixels, in this order, as diffusers gives them. */
export type HeightWidth = readonly [height: number, width: number];

/** What to show, in words or as embeddings, and how strictly. */
export interface PromptOptions {
  /** May be left out where `promptEmbeds` is given. */
  prompt?: string;
  /** For the second text encoder (SDXL, SD3, FLUX), where it should read something else. Default: `prompt`. */
  prompt2?: string;
  /** For the third text encoder (SD3). Default: `prompt`. */
  prompt3?: string;
  /** What to steer away from. Only with guidance. Default: nothing. */
  negativePrompt?: string;
  negativePrompt2?: string;
  negativePrompt3?: string;
  /** [1 or images, tokens, channels]: in place of the text encoders' hidden states. */
  promptEmbeds?: Tensor<'float32'>;
  negativePromptEmbeds?: Tensor<'float32'>;
  /** [1 or images, channels]: in place of the pooled embeddings of SDXL, SD3 and FLUX. */
  pooledPromptEmbeds?: Tensor<'float32'>;
  negativePooledPromptEmbeds?: Tensor<'float32'>;
  /**
   * How strictly to follow the prompt. Classifier-free guidance, which 1 or less turns off and which doubles the work;
   * for models that were taught it (LCM, FLUX) a number that they get. Default: what the model's
   * folder says, else what suits its family.
   */
  guidanceScale?: number;
  /** FLUX: classifier-free guidance beside the taught one. Default 1, none. */
  trueCfgScale?: number;
  /** Brings the contrast of guided pictures back, 0 to 1 (arXiv 2305.08891). Default 0, off. */
  guidanceRescale?: number;
  /** Shares of the steps, 0 to 1, between which guidance is on (arXiv 2404.07724). Default [0, 1]. */
  guidanceInterval?: readonly [start: number, end: number];
  /**
   * Reads `(word)`, `[word]` and `(word:1.3)` as emphasis, for the families whose prompts are CLIP's (Stable Diffusion
   * 1.x, 2.x, XL and 3); see `parsePrompt`. `false` takes brackets as text, as diffusers does. Default true.
   */
  emphasis?: boolean;
  /** Windows of 77 tokens that a CLIP prompt may take. 1 cuts longer prompts, as diffusers does. Default: what it needs. */
  maxPromptChunks?: number;
  /** Layers of CLIP's text encoders to leave out at the end, as diffusers counts them: 1 takes the last but one. Default 0. */
  clipSkip?: number;
  /** Tokens that T5 and Qwen3 encoders get. Default: what diffusers uses for the family. */
  maxSequenceLength?: number;
  /** SDXL: the size that the picture pretends to have been taken at. Default: its own. */
  originalSize?: HeightWidth;
  /** SDXL: how much the picture pretends to have been cropped, from the top and the left. Default [0, 0]. */
  cropsCoordsTopLeft?: readonly [top: number, left: number];
  /** SDXL: the size that the picture pretends to have. Default: its own. */
  targetSize?: HeightWidth;
  /** SDXL: the same for the branch without the prompt. Default: as with it. */
  negativeOriginalSize?: HeightWidth;
  negativeCropsCoordsTopLeft?: readonly [top: number, left: number];
  negativeTargetSize?: HeightWidth;
  /** SDXL's refiner: how beautiful the picture should be, 0 to 10. Default 6, and 2.5 without the prompt. */
  aestheticScore?: number;
  negativeAestheticScore?: number;
}

/** A ControlNet's part. */
export interface ControlOptions {
  /** What the ControlNet follows: edges, depth, a pose. Brought to the picture's size. */
  controlImage?: ImageInput;
  /** What its residuals are multiplied by. Default 1. */
  controlnetConditioningScale?: number;
  /** Shares of the steps, 0 to 1, between which it takes part. Defaults 0 and 1. */
  controlGuidanceStart?: number;
  controlGuidanceEnd?: number;
}

export interface GenerateOptions<T extends OutputType = 'bitmap'> extends PromptOptions, ControlOptions {
  /** Denoising steps. Default: what the model's folder says, else what suits its family. */
  numInferenceSteps?: number;
  /** Timesteps of your own in place of `numInferenceSteps`, for samplers that take them. */
  timesteps?: readonly number[];
  /** Noise levels of your own in place of `numInferenceSteps`, for samplers that take them. */
  sigmas?: readonly number[];
  /** LCM: length of the training schedule that steps are taken from. Default: what the scheduler config says, 50. */
  originalInferenceSteps?: number;
  /** Pixels. Default: the model's own size, or the image's. */
  width?: number;
  height?: number;
  /**
   * Seed of torch's CPU generator, or one for each image. The same seed gives the picture that diffusers gives.
   * Default: random, and returned.
   */
  seed?: number | readonly number[];
  /** Start noise [images, channels, height / 8, width / 8], before the sampler's scaling. Takes the place of the seed's. */
  latents?: Float32Array<ArrayBuffer>;
  /** All other noise, draw by draw. Takes the place of the seed's. */
  noise?: (draw: number) => Float32Array<ArrayBuffer>;
  /** Sampler by name or config. Default: the model's own. */
  sampler?: string | SchedulerConfig;
  /** DDIM: 0 is deterministic, 1 is DDPM. */
  eta?: number;
  numImages?: number;
  /** Pictures while denoising goes on, to `onProgress`, and to `onStep` where it is given. Default: none. */
  preview?: PreviewOptions | boolean;
  /** Which decoder makes the pictures. Default `decoder`. */
  decodeWith?: DecoderChoice;
  /**
   * Decodes in tiles that are blended where they overlap, so that memory does not grow with the picture. Decoders that
   * normalise over the whole picture (all but TAESD) then see a tile at a time, and colours may differ slightly from one
   * to the next. Default: the whole picture at once.
   */
  tiling?: TilingOptions | boolean;
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
