import { createSession, Engine, Tensor, type Session } from '@calotype/core';
import { ModelFolderError, OptionError } from '../errors.ts';
import { ModelFolder, type ModelSource } from '../model/folder.ts';
import { TorchGenerator } from '../random/index.ts';
import { createSampler, type SchedulerConfig } from '../samplers/index.ts';
import { LatentDecoder, type OutputType, type OutputTypes } from '../stages/decode-latents.ts';
import { Denoiser } from '../stages/denoise.ts';
import { encodePrompts, type TextEncoder } from '../stages/encode-prompt.ts';
import { loadTokenizer } from '../tokenizer/index.ts';
import type { GenerateOptions, LoadOptions, Timings } from './options.ts';

/** The facts about a model that its configs tell. */
interface ModelFacts {
  latentChannels: number;
  /** Pixels a latent stands for, along each axis. */
  scaleFactor: number;
  /** Pixels along each axis that the model was trained for. */
  defaultSize: number;
  scheduler: SchedulerConfig;
}

export interface GenerateResult<T extends OutputType = 'bitmap'> {
  images: OutputTypes[T][];
  /** What to pass as `seed` to get the same pictures again. `undefined` when latents were given. */
  seed: number | readonly number[] | undefined;
  timings: Timings;
}

/**
 * Text to image with a model folder in diffusers' ONNX layout: Stable Diffusion 1.x, 2.x, Turbo and others of their
 * form. `prompt → tokens → embeddings → latents → N steps → pixels`; between the tokens' upload and the picture
 * nothing comes back from the GPU.
 *
 * @example
 * using pipeline = await TextToImagePipeline.fromPretrained('/models/sd-turbo/');
 * const { images } = await pipeline.generate({ prompt: 'a red panda wearing a crown', numInferenceSteps: 4 });
 */
export class TextToImagePipeline {
  readonly engine: Engine;
  readonly #ownsEngine: boolean;
  readonly #encoder: TextEncoder;
  readonly #unet: Session;
  readonly #denoiser: Denoiser;
  readonly #decoder: LatentDecoder;
  readonly #sessions: readonly Session[];
  readonly #facts: ModelFacts;

  private constructor(parts: {
    engine: Engine;
    ownsEngine: boolean;
    encoder: TextEncoder;
    unet: Session;
    denoiser: Denoiser;
    decoder: LatentDecoder;
    sessions: readonly Session[];
    facts: ModelFacts;
  }) {
    this.engine = parts.engine;
    this.#ownsEngine = parts.ownsEngine;
    this.#encoder = parts.encoder;
    this.#unet = parts.unet;
    this.#denoiser = parts.denoiser;
    this.#decoder = parts.decoder;
    this.#sessions = parts.sessions;
    this.#facts = parts.facts;
  }

  /**
   * Loads a model folder.
   *
   * @throws ModelFolderError for a folder that lacks something, and everything that reading, fetching and the device
   *   may throw; nothing stays behind then
   */
  static async fromPretrained(source: ModelSource, options: LoadOptions = {}): Promise<TextToImagePipeline> {
    const { signal } = options;
    const folder = await ModelFolder.open(source, signal);
    const facts = await readFacts(folder, signal);
    const engine =
      options.engine ?? (await Engine.create(options.precision ? { precision: options.precision } : {}));
    const sessions: Session[] = [];
    try {
      const load = async (component: string, stableInputs: string[] = []): Promise<Session> => {
        const path = await folder.graph(component);
        const session = await createSession(
          { store: folder.store, path },
          {
            engine,
            stableInputs,
            ...(options.precision ? { precision: options.precision } : {}),
            ...(signal ? { signal } : {}),
            onProgress: ({ stage, done, total }) => options.onProgress?.({ component, stage, done, total }),
          },
        );
        sessions.push(session);
        return session;
      };
      const textEncoder = await load('text_encoder');
      const unet = await load('unet', ['encoder_hidden_states']);
      const decoder = await load('vae_decoder');
      refuseOtherFamilies(unet);
      const tokenizer = await loadTokenizer(
        folder,
        'tokenizer',
        await maxTokens(folder, textEncoder, signal),
      );
      const pipeline = new TextToImagePipeline({
        engine,
        ownsEngine: options.engine === undefined,
        encoder: { session: textEncoder, tokenizer },
        unet,
        denoiser: await Denoiser.create(engine, unet),
        decoder: await LatentDecoder.create(engine, decoder, await readScaling(folder, signal)),
        sessions,
        facts,
      });
      await pipeline.#warmUp(options);
      return pipeline;
    } catch (error) {
      for (const session of sessions) session.dispose();
      if (!options.engine) engine.dispose();
      throw error;
    }
  }

  /**
   * Makes pictures.
   *
   * @throws OptionError, SamplerError for what this model cannot do; the signal's reason when aborted; NumericError when
   *   the model overflows. The pipeline stays usable.
   */
  async generate<T extends OutputType = 'bitmap'>(options: GenerateOptions<T>): Promise<GenerateResult<T>> {
    const { signal } = options;
    const shape = this.#latentShape(options);
    const sampler = createSampler(options.sampler ?? this.#facts.scheduler, this.#facts.scheduler);
    const plan = sampler.plan({
      numInferenceSteps: options.numInferenceSteps ?? 25,
      ...(options.eta === undefined ? {} : { eta: options.eta }),
    });
    const guidanceScale = options.guidanceScale ?? 7.5;
    const guided = guidanceScale > 1;
    const [images] = shape;
    const noise = new NoiseSource(options, shape);

    const started = performance.now();
    options.onProgress?.({ stage: 'encode' });
    const copies = this.#denoiser.copiesFor(images!, guided);
    const repeat = (prompt: string, times: number): string[] =>
      new Array<string>(times * images!).fill(prompt);
    using embeddings = await encodePrompts(
      this.engine,
      this.#encoder,
      guided
        ? [...repeat(options.negativePrompt ?? '', 1), ...repeat(options.prompt, 1)]
        : repeat(options.prompt, copies),
      signal,
    );
    const encoded = performance.now();

    options.onProgress?.({ stage: 'denoise', step: 0, steps: plan.steps.length });
    const start = Float32Array.from(noise.latents, (value) => value * plan.initNoiseSigma);
    using latents = await this.#denoiser.run({
      plan,
      latents: new Tensor('float32', shape, start),
      embeddings,
      guidanceScale: guided ? guidanceScale : undefined,
      noise: () => noise.next(),
      signal,
      onStep: async (step, current) => {
        options.onProgress?.({ stage: 'denoise', step: step + 1, steps: plan.steps.length });
        const timestep = plan.steps[step]!.timestep;
        await options.onStep?.({ step, steps: plan.steps.length, timestep, latents: current });
      },
    });
    const denoised = performance.now();

    options.onProgress?.({ stage: 'decode', image: 0, images: images! });
    const pictures = await this.#decoder.decode(latents, options.output ?? ('bitmap' as T), {
      signal,
      onImage: (image) => options.onProgress?.({ stage: 'decode', image: image + 1, images: images! }),
    });
    const decoded = performance.now();
    return {
      images: pictures,
      seed: noise.seed,
      timings: {
        encodeMs: encoded - started,
        denoiseMs: denoised - encoded,
        decodeMs: decoded - denoised,
        totalMs: decoded - started,
      },
    };
  }

  /** Uploads weights and compiles, for one picture without guidance; what other runs need beside that is little. */
  async #warmUp(options: LoadOptions): Promise<void> {
    const shape = this.#latentShape({ prompt: '', ...options.warmUp });
    const copies = new Array<string>(this.#denoiser.copiesFor(1, false)).fill('');
    using embeddings = await encodePrompts(this.engine, this.#encoder, copies, options.signal);
    await this.#denoiser.prepare(shape, embeddings, options.signal);
    await this.#decoder.prepare(shape, options.signal);
  }

  /** Pixels along each axis that the model was trained for. */
  get defaultSize(): number {
    return this.#facts.defaultSize;
  }

  /** The denoiser's session, for reports and plans. */
  get unet(): Session {
    return this.#unet;
  }

  #latentShape(options: GenerateOptions<OutputType>): number[] {
    const { latentChannels, scaleFactor, defaultSize } = this.#facts;
    const images = options.numImages ?? (Array.isArray(options.seed) ? options.seed.length : 1);
    if (!Number.isInteger(images) || images < 1) {
      throw new OptionError('numImages', `expected a whole number from 1 on, got ${images}.`);
    }
    const size = (option: 'width' | 'height'): number => {
      const pixels = options[option] ?? defaultSize;
      if (!Number.isInteger(pixels) || pixels < scaleFactor || pixels % scaleFactor !== 0) {
        const nearest = Math.max(1, Math.round(pixels / scaleFactor)) * scaleFactor;
        throw new OptionError(
          option,
          `expected a multiple of ${scaleFactor}, got ${pixels}. Use ${nearest}.`,
        );
      }
      return pixels / scaleFactor;
    };
    return [images, latentChannels, size('height'), size('width')];
  }

  /** Frees the model's memory, and the engine if the pipeline made it. Idempotent. */
  dispose(): void {
    this.#denoiser.dispose();
    this.#decoder.dispose();
    for (const session of this.#sessions) session.dispose();
    if (this.#ownsEngine) this.engine.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Start latents and later draws, from the seed or as given. */
class NoiseSource {
  readonly latents: Float32Array<ArrayBuffer>;
  readonly seed: number | readonly number[] | undefined;
  readonly #draw: () => Float32Array<ArrayBuffer>;
  readonly #given: ((draw: number) => Float32Array<ArrayBuffer>) | undefined;
  #draws = 0;

  constructor(options: GenerateOptions<OutputType>, shape: readonly number[]) {
    const [images, ...rest] = shape;
    const elements = shape.reduce((product, dim) => product * dim, 1);
    // 53 random bits: what a double, and so a shared link, can hold exactly.
    const seed = options.seed ?? Math.floor(Math.random() * 2 ** 53);
    if (typeof seed === 'number') {
      const generator = new TorchGenerator(seed);
      this.#draw = () => generator.randn(shape);
    } else {
      if (seed.length !== images) {
        throw new OptionError(
          'seed',
          `${seed.length} seeds for ${images} images. Give one, or one for each image.`,
        );
      }
      const generators = seed.map((value) => new TorchGenerator(value));
      this.#draw = () => {
        const values = new Float32Array(elements);
        generators.forEach((generator, i) =>
          values.set(generator.randn([1, ...rest]), (i * elements) / images),
        );
        return values;
      };
    }
    if (options.latents && options.latents.length !== elements) {
      throw new OptionError(
        'latents',
        `expected ${elements} values for [${shape.join(', ')}], got ${options.latents.length}.`,
      );
    }
    this.latents = options.latents ?? this.#draw();
    this.seed = options.latents ? undefined : seed;
    this.#given = options.noise;
  }

  next(): Float32Array<ArrayBuffer> {
    return this.#given ? this.#given(this.#draws++) : this.#draw();
  }
}

async function readFacts(folder: ModelFolder, signal: AbortSignal | undefined): Promise<ModelFacts> {
  const [unet, vae, scheduler] = await Promise.all([
    folder.json('unet/config.json', signal),
    folder.json('vae_decoder/config.json', signal),
    folder.json('scheduler/scheduler_config.json', signal),
  ]);
  if (!scheduler)
    throw new ModelFolderError('scheduler/scheduler_config.json', 'is missing: it says how to sample.');
  const blocks = vae?.['block_out_channels'];
  const scaleFactor = Array.isArray(blocks) ? 2 ** (blocks.length - 1) : 8;
  return {
    latentChannels: numberOf(vae?.['latent_channels']) ?? numberOf(unet?.['in_channels']) ?? 4,
    scaleFactor,
    defaultSize: (numberOf(unet?.['sample_size']) ?? 64) * scaleFactor,
    scheduler,
  };
}

async function readScaling(
  folder: ModelFolder,
  signal: AbortSignal | undefined,
): Promise<{ scalingFactor: number; shiftFactor: number }> {
  const config = await folder.json('vae_decoder/config.json', signal);
  return {
    // AutoencoderKL's default, that of Stable Diffusion 1.x and 2.x.
    scalingFactor: numberOf(config?.['scaling_factor']) ?? 0.18215,
    shiftFactor: numberOf(config?.['shift_factor']) ?? 0,
  };
}

async function maxTokens(
  folder: ModelFolder,
  encoder: Session,
  signal: AbortSignal | undefined,
): Promise<number> {
  const declared = encoder.inputs.find(({ name }) => name === 'input_ids')?.shape?.[1];
  if (typeof declared === 'number') return declared;
  const config = await folder.json('text_encoder/config.json', signal);
  return numberOf(config?.['max_position_embeddings']) ?? 77;
}

/** Says what a denoiser needs that this pipeline does not give it. */
function refuseOtherFamilies(unet: Session): void {
  const known = new Set(['sample', 'timestep', 'encoder_hidden_states']);
  const extra = unet.inputs.filter(({ name }) => !known.has(name)).map(({ name }) => name);
  if (extra.length > 0) {
    throw new ModelFolderError(
      'unet/model.onnx',
      `needs ${extra.join(', ')}: this is no model of the Stable Diffusion 1.x, 2.x or Turbo form.`,
    );
  }
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
