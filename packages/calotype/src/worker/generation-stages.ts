import {
  callStage,
  chain,
  type Chain,
  type Checkpoint,
  type Stage,
  type StageContext,
  type StageJob,
} from '@calotype/scheduler';
import type { Generation, GenerationCheckpoint } from '../pipelines/generation.ts';
import type { ImageToImageOptions } from '../pipelines/image-to-image.ts';
import type { InpaintOptions } from '../pipelines/inpaint.ts';
import type { GenerateResult } from '../pipelines/pipeline.ts';
import type { TextToImagePipeline } from '../pipelines/text-to-image.ts';
import type { OutputType, OutputTypes } from '../stages/picture.ts';
import { textsOf } from '../prompt/texts.ts';
import type { PromptTokenizer } from '../tokenizer/index.ts';
import { maskSizeError, sizeMultiple } from '../pipelines/request.ts';
import { tensorOf, type WireImage } from './cpu-service.ts';
import type { CpuThread } from './cpu-thread.ts';
import type { LoadedModel } from './loaded-models.ts';
import type { ActingLora, SentOptions } from './messages.ts';

/** Requests that denoise at once. More share no more weights: the gain of a batch levels off before. */
const MOST_DENOISING = 8;

/** A request as the stages get it. It stays as it is: after a loss it is begun anew from it. */
export interface GenerationRequest {
  model: LoadedModel;
  options: SentOptions<OutputType>;
  loras: readonly ActingLora[];
  previewEvery: number | undefined;
  /** `performance.now()` of its arrival. */
  arrived: number;
}

/** What a stage may send beside its steps. */
export type GenerationEvent =
  | { type: 'preview'; step: number; steps: number; image: ImageBitmap }
  | { type: 'image'; image: number; images: number };

/** A request whose model is loaded, with its LoRAs in the weights as long as this lives. */
class Ready implements Disposable {
  readonly request: GenerationRequest;
  #weights: Disposable | undefined;

  constructor(request: GenerationRequest, weights: Disposable | undefined) {
    this.request = request;
    this.#weights = weights;
  }

  /** Hands the weights on to what this becomes. */
  takeWeights(): Disposable | undefined {
    const weights = this.#weights;
    this.#weights = undefined;
    return weights;
  }

  [Symbol.dispose](): void {
    this.takeWeights()?.[Symbol.dispose]();
  }
}

/** A request that has been encoded. */
class Flow implements Disposable {
  readonly request: GenerationRequest;
  readonly generation: Generation;
  /** Milliseconds that each stage took. */
  readonly took: { encode: number; denoise: number };
  readonly #weights: Disposable | undefined;

  constructor(ready: Ready, generation: Generation, encodeMs: number) {
    this.request = ready.request;
    this.generation = generation;
    this.took = { encode: encodeMs, denoise: 0 };
    this.#weights = ready.takeWeights();
  }

  /** Lets others change the weights: after the last step nothing depends on them. */
  releaseWeights(): void {
    this.#weights?.[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.releaseWeights();
    this.generation.dispose();
  }
}

type Result = GenerateResult<OutputType>;

/** Pictures, before they are made files. */
interface Decoded {
  request: GenerationRequest;
  result: Result;
}

/**
 * A picture's way: the model is loaded, prompt and pictures are made ready by the other thread, the prompt is encoded, latents
 * denoised and decoded, the image encoded, by the other thread again.
 */
export function generationChain(thread: CpuThread): Chain<GenerationRequest, Result> {
  return chain(loading)
    .to(preparing(thread))
    .to(encoding)
    .to(denoising)
    .to(decoding)
    .to(imageEncoding(thread));
}

const loading = callStage<GenerationRequest, Ready>({
  name: 'load',
  place: 'cpu',
  capacity: 2,
  run: async (request, { signal }) => {
    await request.model.pipeline();
    return new Ready(request, await request.model.loras.acquire(request.loras, signal));
  },
});

/** Tokenizes prompts and decodes pictures. */
function preparing(thread: CpuThread): Stage<Ready, Ready> {
  return callStage<Ready, Ready>({
    name: 'prepare',
    place: 'cpu',
    capacity: 4,
    run: async (ready, { signal }) => {
      const { request } = ready;
      const pipeline = await request.model.pipeline();
      const [images] = await Promise.all([
        drawn(thread, pipeline, request.options, signal),
        tokenize(thread, pipeline, request.options, signal),
      ]);
      return new Ready({ ...request, options: { ...request.options, ...images } }, ready.takeWeights());
    },
  });
}

/** Names by which the other thread knows tokenizers. */
const tokenizerNames = new WeakMap<PromptTokenizer, string>();

async function tokenize(
  thread: CpuThread,
  { model }: TextToImagePipeline,
  options: SentOptions<OutputType>,
  signal: AbortSignal,
): Promise<void> {
  // Here it is done where the ids are needed.
  if (!(await thread.isElsewhere())) return;
  const texts = textsOf(options, model.family.template?.bind(model.family));
  const ask = async (tokenizer: PromptTokenizer): Promise<void> => {
    let id = tokenizerNames.get(tokenizer);
    if (!id) tokenizerNames.set(tokenizer, (id = crypto.randomUUID()));
    const call = (made: PromptTokenizer['made'] | undefined): Promise<number[][] | undefined> =>
      thread.call('tokenize', { id, made, texts }, { signal, resumable: true });
    const ids = (await call(undefined)) ?? (await call(tokenizer.made))!;
    texts.forEach((text, i) => tokenizer.remember(text, ids[i]!));
  };
  await Promise.all([...model.encoders.values()].map(({ tokenizer }) => ask(tokenizer)));
}

type ImageOptions = Pick<SentOptions<OutputType>, 'image' | 'maskImage' | 'controlImage'>;

/** The request's pictures, drawn to the size of what it makes. */
async function drawn(
  thread: CpuThread,
  { model, defaultSize }: TextToImagePipeline,
  { image, maskImage, controlImage, width, height }: SentOptions<OutputType>,
  signal: AbortSignal,
): Promise<ImageOptions> {
  const multiple = sizeMultiple(model);
  // Of a size that the model cannot make, `begin` tells.
  const isSize = (pixels: number | undefined): boolean =>
    pixels === undefined || (Number.isInteger(pixels) && pixels >= multiple && pixels % multiple === 0);
  if (!isSize(width) || !isSize(height)) return {};
  const draw = async (
    given: unknown,
    option: string,
    size: { width: number | undefined; height: number | undefined },
  ): Promise<Awaited<ReturnType<typeof thread.call<'picture'>>> | undefined> => {
    if (!isWireImage(given)) return undefined;
    const input = { image: given, option, ...size, multiple };
    return thread.call('picture', input, { signal, resumable: true });
  };
  const picture = await draw(image, 'image', { width, height });
  const size = { width: picture?.width ?? width, height: picture?.height ?? height };
  const mask = picture && (await draw(maskImage, 'maskImage', size));
  if (mask && (mask.own.width !== picture.own.width || mask.own.height !== picture.own.height)) {
    throw maskSizeError(mask.own, picture.own);
  }
  const control =
    model.controlnet &&
    (await draw(
      controlImage,
      'controlImage',
      model.controlnet.imageSize({ width: size.width ?? defaultSize, height: size.height ?? defaultSize }),
    ));
  return {
    ...(picture && { image: tensorOf(picture), width: picture.width, height: picture.height }),
    ...(mask && { maskImage: tensorOf(mask) }),
    ...(control && { controlImage: tensorOf(control) }),
  };
}

function isWireImage(image: unknown): image is WireImage {
  return image instanceof Blob || image instanceof ImageBitmap || image instanceof ImageData;
}

const encoding = callStage<Ready, Flow>({
  name: 'encode',
  place: 'gpu',
  capacity: 2,
  run: async (ready, { signal, resume }) => {
    const { request } = ready;
    const started = performance.now();
    const checkpoint = resume?.data as GenerationCheckpoint | undefined;
    const pipeline = await request.model.pipeline();
    const generation = await begin(pipeline, request.options, signal, checkpoint);
    // Not between steps, where others would wait for it.
    if (request.previewEvery) await generation.preparePreview({}, signal);
    return new Flow(ready, generation, performance.now() - started);
  },
});

const denoising: Stage<Flow, Flow, DenoisingStep> = {
  name: 'denoise',
  place: 'gpu',
  capacity: MOST_DENOISING,
  maxBatch: () => MOST_DENOISING,
  bytes: ({ generation }) => generation.job.bytes,
  start: (flow, context) => new DenoisingStep(flow, context),
  async step(jobs, { signal }) {
    const [{ flow }] = jobs as [DenoisingStep];
    const { model } = await flow.request.model.pipeline();
    const preview = (): void => jobs.forEach((job) => job.preview());
    const atOnce = flow.generation.previewsAtOnce();
    await model.denoising.step(
      jobs.map((job) => job.flow.generation.job),
      { signal, after: atOnce ? preview : undefined },
    );
    if (!atOnce) preview();
  },
};

const decoding: Stage<Flow, Decoded, Decoding> = {
  name: 'decode',
  place: 'gpu',
  bytes: ({ generation }) => generation.job.bytes,
  // Some of them wait for their pixels, and for the news of them.
  capacity: 4,
  start: (flow, context) => new Decoding(flow, context),
  step: ([job]) => job!.submit(),
};

/** Makes files of pictures, where those are asked for. */
function imageEncoding(thread: CpuThread): Stage<Decoded, Result> {
  return callStage<Decoded, Result>({
    name: 'image',
    place: 'cpu',
    capacity: 4,
    run: async ({ result, request }, { signal }) => {
      const encode = ({ width, height, data }: ImageData): Promise<Blob> => {
        const input = { width, height, pixels: data.buffer };
        return thread.call('encode', input, { signal, resumable: true });
      };
      const images =
        request.options.output === 'blob'
          ? await Promise.all((result.images as ImageData[]).map(encode))
          : result.images;
      const totalMs = performance.now() - request.arrived;
      return { ...result, images, timings: { ...result.timings, totalMs } };
    },
  });
}

/** Begins with the pipeline that the options are for. */
async function begin(
  pipeline: TextToImagePipeline,
  sent: SentOptions<OutputType>,
  signal: AbortSignal,
  checkpoint: GenerationCheckpoint | undefined,
): Promise<Generation> {
  const options = { ...sent, signal };
  if (options.maskImage !== undefined) {
    const { InpaintPipeline } = await import('../pipelines/inpaint.ts');
    using inpaint = InpaintPipeline.from(pipeline);
    return await inpaint.begin(options as InpaintOptions, checkpoint);
  }
  if (options.image !== undefined) {
    const { ImageToImagePipeline } = await import('../pipelines/image-to-image.ts');
    using imageToImage = ImageToImagePipeline.from(pipeline);
    return await imageToImage.begin(options as ImageToImageOptions, checkpoint);
  }
  return pipeline.begin(options, checkpoint);
}

class DenoisingStep implements StageJob<Flow> {
  readonly flow: Flow;
  readonly #context: StageContext;
  readonly #started = performance.now();
  #isMine = true;

  constructor(flow: Flow, context: StageContext) {
    this.flow = flow;
    this.#context = context;
  }

  get steps(): number {
    return this.flow.generation.job.steps;
  }

  get stepIndex(): number {
    return this.flow.generation.job.stepIndex;
  }

  get batchKey(): string {
    return this.flow.generation.job.batchKey;
  }

  /** Sends a preview, if it is time for one. It is computed with the step or after it, and read while the next one runs. */
  preview(): void {
    const { previewEvery } = this.flow.request;
    const { stepIndex: step, steps } = this;
    if (!previewEvery || step % previewEvery !== 0 || step === steps) return;
    this.flow.generation.preview({}, { images: [0] }).then(
      ([image]) =>
        image && this.#context.emit({ type: 'preview', step, steps, image } satisfies GenerationEvent),
      // A lost device is met by the next step too, and more is not lost.
      () => {},
    );
  }

  result(): Flow {
    this.flow.took.denoise = performance.now() - this.#started;
    this.flow.releaseWeights();
    this.#isMine = false;
    return this.flow;
  }

  async checkpoint(): Promise<Checkpoint> {
    const data = await this.flow.generation.checkpoint();
    return { stage: encoding.name, step: data.denoising.stepIndex, data };
  }

  dispose(): void {
    if (this.#isMine) this.flow[Symbol.dispose]();
  }
}

class Decoding implements StageJob<Decoded> {
  readonly steps = 1;
  stepIndex = 0;
  readonly #flow: Flow;
  readonly #context: StageContext;
  readonly #started = performance.now();
  #images: Promise<OutputTypes[OutputType][]> | undefined;

  constructor(flow: Flow, context: StageContext) {
    this.#flow = flow;
    this.#context = context;
  }

  /** Resolves when all is submitted: the pictures are read back while the next step runs. */
  async submit(): Promise<void> {
    const { generation, request } = this.#flow;
    const output = request.options.output ?? 'bitmap';
    const { images } = generation.job;
    const { signal, emit } = this.#context;
    const decoded = (image: number): void => emit({ type: 'image', image, images } satisfies GenerationEvent);
    decoded(0);
    await new Promise<void>((submitted, failed) => {
      // Pixels for a file are read back with the others of the device, and not drawn first.
      this.#images = generation.decode(output === 'blob' ? 'imageData' : output, {
        signal,
        tiling: request.options.tiling,
        decodeWith: request.options.decodeWith,
        onSubmitted: (image) => image + 1 === images && submitted(),
        onImage: (image) => decoded(image + 1),
      });
      this.#images.catch(failed);
    });
    this.stepIndex = 1;
  }

  async result(): Promise<Decoded> {
    const images = await this.#images!;
    this.#images = undefined;
    const { generation, request, took } = this.#flow;
    const now = performance.now();
    const timings = {
      encodeMs: took.encode,
      denoiseMs: took.denoise,
      decodeMs: now - this.#started,
      totalMs: now - request.arrived,
    };
    const seed = request.options.latents ? undefined : generation.seed;
    return { request, result: { images, seed, timings } };
  }

  dispose(): void {
    // A picture that is on its way when nobody wants it any more.
    this.#images?.then(
      (images) => {
        for (const image of images) if (image instanceof ImageBitmap) image.close();
      },
      () => {},
    );
    this.#flow[Symbol.dispose]();
  }
}
