import { ModelFolderError, OptionError } from '../errors.ts';
import type { EncodeRequest } from '../families/family.ts';
import type { Lora, LoraOptions, LoraSource } from '../lora/index.ts';
import type { GenerationDefaults } from '../model/facts.ts';
import type { ModelSource } from '../model/folder.ts';
import type { PipelinePlan, PipelinePlanOptions } from '../memory/plan.ts';
import { DiffusionModel } from '../model/model.ts';
import { NoiseSource } from '../random/index.ts';
import type { SamplerOptions } from '../samplers/index.ts';
import type { JobControl } from '../stages/control.ts';
import type { OutputType, OutputTypes } from '../stages/picture.ts';
import type { DenoiseRequest, KeptRegion } from '../stages/denoise-job.ts';
import { openImage } from '../stages/image-input.ts';
import { emptyTensor, uploadTensor } from '../stages/memory.ts';
import { Tensor, type PrepareOptions } from '@calotype/core';
import { encodePrompt, type EncodePromptOptions, type PromptEmbeddings } from './embeddings.ts';
import { Generation, type GenerationCheckpoint } from './generation.ts';
import type { GenerateOptions, LoadOptions, Timings } from './options.ts';
import { resolveRequest, share, type ResolvedRequest } from './request.ts';

export interface GenerateResult<T extends OutputType = 'bitmap'> {
  images: OutputTypes[T][];
  /** What to pass as `seed` to get the same pictures again. `undefined` when latents were given. */
  seed: number | readonly number[] | undefined;
  timings: Timings;
}

/** What a pipeline starts denoising from, beside the prompt. */
export interface Start {
  /** At the first step's noise level. */
  latents: Tensor<'float32'>;
  kept?: KeptRegion | undefined;
  extraChannels?: Tensor<'float32'> | undefined;
}

/** What `begin` has found out when it asks for the start. */
export interface StartContext<O> {
  options: O;
  request: ResolvedRequest;
  noise: NoiseSource;
  signal: AbortSignal | undefined;
}

/** A picture's size in pixels. */
export interface Sizing {
  width: number;
  height: number;
}

type PipelineClass<P> = new (model: DiffusionModel) => P;

/**
 * What all pipelines share: a model, and the way from a prompt to pictures. `prompt → tokens → embeddings → latents → N
 * steps → pixels`; between the upload and the picture nothing comes back from the GPU.
 */
export abstract class DiffusionPipeline<O extends GenerateOptions<OutputType>> {
  readonly model: DiffusionModel;
  #disposed = false;

  /** Use `fromPretrained` or `from`. */
  constructor(model: DiffusionModel) {
    this.model = model;
  }

  /**
   * Loads a model folder in diffusers' ONNX layout.
   *
   * @throws ModelFolderError for a folder that lacks something, and everything that reading, fetching and the device
   *   may throw; nothing stays behind then
   */
  static async fromPretrained<P extends DiffusionPipeline<never>>(
    this: PipelineClass<P>,
    source: ModelSource,
    options: LoadOptions = {},
  ): Promise<P> {
    const model = await DiffusionModel.load(source, options);
    try {
      const pipeline = new this(model);
      const { warmUp = {}, signal } = options;
      if (warmUp !== false) {
        await pipeline.warmUp(warmUp, signal);
        // What was loaded works without network from now on, and is what its digest promises.
        await model.finishFetching(signal ? { signal } : {});
      }
      return pipeline;
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  /**
   * A pipeline on the model of another one, without loading it again. Each is disposed of on its own; the model goes with
   * the last.
   *
   * @throws ModelFolderError where the model lacks what this pipeline needs
   */
  static from<P extends DiffusionPipeline<never>>(
    this: PipelineClass<P>,
    pipeline: Pick<DiffusionPipeline<never>, 'model'>,
  ): P {
    const model = pipeline.model.share();
    try {
      return new this(model);
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  /**
   * What pictures of this size take: bytes to fetch, bytes on the GPU, whether they fit the memory budget and the device's
   * limits, and what to change where they do not. Reads no weights.
   *
   * @throws OptionError for sizes that the model cannot make
   */
  async plan(options: PipelinePlanOptions = {}): Promise<PipelinePlan> {
    const { planPipelineOf } = await import('../memory/plan.ts');
    return planPipelineOf(this.model, options);
  }

  get engine(): DiffusionModel['engine'] {
    return this.model.engine;
  }

  /** Pixels along each axis that the model was trained for. */
  get defaultSize(): number {
    return this.model.facts.defaultSize;
  }

  /** Steps and guidance that `generate` takes where the caller names none. */
  get defaults(): GenerationDefaults {
    return this.model.facts.defaults;
  }

  /** LoRAs that act, in the order of loading. */
  get loras(): readonly Lora[] {
    return this.model.loras.loras;
  }

  /**
   * Loads a LoRA from a safetensors file in the key style of kohya's trainer, diffusers or PEFT. It acts from the next run
   * on, together with those loaded before, for all pipelines on this model. Load, change and unload between runs: a run
   * under way would go on with other weights.
   *
   * @throws LoraError for a file that is no LoRA or was made for another model; SourceError, OutOfMemoryError,
   *   WeightUpdateError, the signal's reason. The model stays as it was then
   */
  loadLora(source: LoraSource, options: LoraOptions = {}): Promise<Lora> {
    return this.model.loras.load(source, options);
  }

  /** Changes how strongly a LoRA acts, from the next run on. Throws `LoraError` for one that is not loaded. */
  setLoraScale(lora: Lora, scale: number, options: PrepareOptions = {}): Promise<void> {
    return this.model.loras.setScale(lora, scale, options);
  }

  /** Takes a LoRA away; without any the weights are the model's own again, bit by bit. */
  unloadLora(lora: Lora, options: PrepareOptions = {}): Promise<void> {
    return this.model.loras.unload(lora, options);
  }

  /**
   * Encodes a prompt without generating: to use it again, or to mix it with others (`interpolateEmbeddings`).
   *
   * @example
   * const [cat, dog] = [await pipeline.encodePrompt({ prompt: 'a cat' }), await pipeline.encodePrompt({ prompt: 'a dog' })];
   * const promptEmbeds = await interpolateEmbeddings(cat.promptEmbeds, dog.promptEmbeds, 0.5);
   * const { images } = await pipeline.generate({ ...cat, promptEmbeds });
   * @throws OptionError, the signal's reason
   */
  encodePrompt(options: EncodePromptOptions): Promise<PromptEmbeddings> {
    return encodePrompt(this.model, options);
  }

  /** Size of the pictures and what the sampler is asked for, beside the caller's options. */
  protected async prepare(_options: O): Promise<{ size: Sizing; sampling: SamplerOptions }> {
    const { defaultSize } = this;
    return { size: { width: defaultSize, height: defaultSize }, sampling: {} };
  }

  /** Makes the latents to begin with. */
  protected abstract start(context: StartContext<O>): Promise<Start>;

  /**
   * Encodes a request and readies it for denoising, for those who drive steps themselves: a scheduler that batches
   * requests. `generate` does all of it.
   *
   * @param checkpoint goes on from there; the options must be those of the run that made it
   * @throws what `generate` throws
   */
  async begin(options: O, checkpoint?: GenerationCheckpoint): Promise<Generation> {
    const { model } = this;
    const { signal } = options;
    signal?.throwIfAborted();
    const { size, sampling } = await this.prepare(options);
    const request = await resolveRequest(model, options, size, sampling);
    // 53 random bits: what a double, and so a shared link, can hold exactly.
    const seed = checkpoint?.seed ?? options.seed ?? Math.floor(Math.random() * 2 ** 53);
    const noise = new NoiseSource({ seed, images: request.images, given: options.noise });
    const encode: EncodeRequest = {
      options,
      guidance: { scale: request.guidance?.scale, embedded: request.embeddedGuidance },
      shape: request.shape,
      width: request.width,
      height: request.height,
      signal,
    };
    const control = await this.#control(options, request);
    let start: Start | undefined;
    let conditioning: DenoiseRequest['conditioning'] | undefined;
    try {
      start = await this.start({ options, request, noise, signal });
      while (noise.draws < (checkpoint?.draws ?? 0)) noise.next(request.shape);
      conditioning = await model.family.encode(model, encode);
      const job = model.denoising.start({
        plan: request.plan,
        latents: start.latents,
        conditioning,
        guidance: request.guidance,
        noise: () => noise.next(request.shape),
        kept: start.kept,
        extraChannels: start.extraChannels,
        control,
        checkpoint: checkpoint?.denoising,
      });
      // From here on the job owns them.
      start = undefined;
      return new Generation(model, await job, noise, seed);
    } catch (error) {
      if (start && !conditioning) disposeStart(start);
      if (!conditioning) control?.image.dispose();
      throw error;
    }
  }

  /**
   * Makes pictures.
   *
   * @throws OptionError, SamplerError for what this model cannot do; the signal's reason when aborted; NumericError when
   *   the model overflows. The pipeline stays usable.
   */
  async generate<T extends OutputType = 'bitmap'>(options: O & { output?: T }): Promise<GenerateResult<T>> {
    const { signal, onProgress } = options;
    const started = performance.now();
    onProgress?.({ stage: 'encode' });
    using generation = await this.begin(options);
    const { job } = generation;
    const encoded = performance.now();
    const { images } = job;
    const { lastStep } = await this.#denoise(generation, options);
    const denoising = lastStep.then(() => {
      onProgress?.({ stage: 'decode', image: 0, images });
      return performance.now();
    });
    denoising.catch(() => {});
    // Submitted during the last step: waiting for it would leave the GPU idle for a round trip.
    const pictures = await generation.decode(options.output ?? ('bitmap' as T), {
      signal,
      tiling: options.tiling,
      decodeWith: options.decodeWith,
      onImage: (image) => onProgress?.({ stage: 'decode', image: image + 1, images }),
    });
    const denoised = await denoising;
    const decoded = performance.now();
    return {
      images: pictures,
      seed: options.latents ? undefined : generation.seed,
      timings: {
        encodeMs: encoded - started,
        denoiseMs: denoised - encoded,
        decodeMs: decoded - denoised,
        totalMs: decoded - started,
      },
    };
  }

  /** Submits a request's steps. The end of the last one comes in an object: whoever awaits this must not wait for it. */
  async #denoise(
    generation: Generation,
    options: GenerateOptions<OutputType>,
  ): Promise<{ lastStep: Promise<unknown> }> {
    const { signal, onProgress, onStep } = options;
    const { job } = generation;
    const { engine, denoising } = this.model;
    const { steps } = job;
    const preview = options.preview === true ? {} : options.preview || undefined;
    const every = preview?.every ?? 1;
    if (preview) await generation.preparePreview(preview, signal);
    onProgress?.({ stage: 'denoise', step: 0, steps });
    let before: Promise<unknown> = Promise.resolve();
    while (!job.done) {
      const step = job.stepIndex;
      const { timestep } = job;
      await denoising.step([job], { signal });
      const finished = engine.until(engine.device.queue.onSubmittedWorkDone(), signal);
      finished.catch(() => {});
      // Whoever looks at a step waits for it; else the next one is submitted meanwhile, so that the GPU never waits.
      await (onStep ? finished : before);
      const previews =
        preview && (step + 1) % every === 0 ? await generation.preview(preview, { signal }) : undefined;
      const [first] = previews ?? [];
      onProgress?.({ stage: 'denoise', step: step + 1, steps, ...(first && { preview: first }) });
      await onStep?.({ step, steps, timestep, latents: job.latents, ...(previews && { previews }) });
      before = finished;
    }
    return { lastStep: before };
  }

  /** Uploads weights and compiles, for one picture without guidance; what other runs need beside that is little. */
  async warmUp(size: { width?: number; height?: number }, signal: AbortSignal | undefined): Promise<void> {
    const { model } = this;
    if (model.encoders.size === 0) return;
    const { defaultSize } = this;
    const options = { prompt: '', ...size };
    const request = await resolveRequest(model, options, { width: defaultSize, height: defaultSize });
    const conditioning = await model.family.encode(model, {
      options,
      guidance: { scale: undefined, embedded: request.embeddedGuidance },
      shape: request.shape,
      width: request.width,
      height: request.height,
      signal,
    });
    if (model.denoising.takesControl) {
      // What residuals look like is known only when a control net has run.
      for (const tensor of Object.values(conditioning.rows)) tensor.dispose();
    } else {
      using latents = emptyTensor(model.engine, request.shape, 'latents');
      using job = await model.denoising.start({
        plan: request.plan,
        latents,
        conditioning,
        noise: () => new Float32Array(),
        extraChannels: this.#spareChannels(request.shape),
      });
      await model.denoising.prepare(job, signal);
    }
    await model.decoder.prepare(request.shape, signal);
  }

  /** Frees the model's memory, if no other pipeline shares it, and the engine if the model made it. Idempotent. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.model.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Zeros for the channels that a model has beyond the latents'. */
  #spareChannels(shape: readonly number[]): Tensor<'float32'> | undefined {
    const { graph, layout } = this.model.denoising;
    const declared = graph.shapeOf(layout.sample)?.[1];
    const spare = layout.patch === 1 && typeof declared === 'number' ? declared - shape[1]! : 0;
    return spare > 0 ? emptyTensor(this.engine, [1, spare, ...shape.slice(2)], 'extra channels') : undefined;
  }

  async #control(
    options: GenerateOptions<OutputType>,
    request: ResolvedRequest,
  ): Promise<JobControl | undefined> {
    const { controlImage, controlnetConditioningScale: scale = 1 } = options;
    if (controlImage === undefined) return undefined;
    const net = this.model.controlnet;
    if (!net) {
      throw new ModelFolderError(
        'controlnet/model.onnx',
        'is missing, and controlImage needs it. Give the folder of a ControlNet when loading (option controlnet).',
      );
    }
    const start = share('controlGuidanceStart', options.controlGuidanceStart ?? 0);
    const end = share('controlGuidanceEnd', options.controlGuidanceEnd ?? 1);
    if (start >= end) {
      throw new OptionError('controlGuidanceStart', `${start} is not before controlGuidanceEnd, ${end}.`);
    }
    const { width, height } = net.imageSize(request);
    const planes = (await openImage(controlImage, 'controlImage')).rgb(width, height);
    const shape = [1, planes.channels, height, width];
    return { net, image: uploadTensor(this.engine, shape, planes.data, 'control image'), scale, start, end };
  }
}

function disposeStart({ latents, kept, extraChannels }: Start): void {
  latents.dispose();
  extraChannels?.dispose();
  for (const tensor of Object.values(kept ?? {})) (tensor as Tensor).dispose();
}
