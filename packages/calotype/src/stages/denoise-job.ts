import { DisposedError, Tensor, type Engine } from '@calotype/core';
import { OptionError } from '../errors.ts';
import { packPlan } from '../samplers/apply.ts';
import type { SamplerPlan } from '../samplers/types.ts';
import { disposeConditioning, type Conditioning } from './conditioning.ts';
import type { JobControl } from './control.ts';
import { bufferOf, paddedBytes, sizeOf } from './memory.ts';

/** Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598). */
export interface Guidance {
  scale: number;
  /** How far the guided answer's deviation is brought back to the unguided one's (arXiv 2305.08891). 0 is off. */
  rescale?: number;
  /** Shares of the steps, 0 to 1, between which guidance is on (arXiv 2404.07724). */
  interval?: readonly [start: number, end: number];
}

/** What an inpainting run keeps: after every step it is put back where the mask is 0. */
export interface KeptRegion {
  /** [1 or images, 1, height, width]: 1 where the picture is made anew. */
  mask: Tensor<'float32'>;
  /** Clean latents of the picture, [1 or images, channels, height, width]. */
  known: Tensor<'float32'>;
  /** The start noise, as many elements as the latents. */
  noise: Tensor<'float32'>;
}

export interface DenoiseRequest {
  plan: SamplerPlan;
  /** Start latents [images, channels, height, width] at the first step's noise level, on the GPU. Taken over. */
  latents: Tensor<'float32'>;
  /** Taken over: the job disposes of it. */
  conditioning: Conditioning;
  /** `undefined` for none. Needs a conditioning of two branches. */
  guidance?: Guidance | undefined;
  /** Noise for one step, as many elements as the latents. Called in the order of the steps that draw. */
  noise: () => Float32Array<ArrayBuffer>;
  /** Taken over. */
  kept?: KeptRegion | undefined;
  /** Channels that the model gets after the latents', [1 or images, channels, height, width]. Taken over. */
  extraChannels?: Tensor<'float32'> | undefined;
  /** Taken over. */
  control?: JobControl | undefined;
  /** Goes on from there; `latents` only tells the shape then. Whoever resumes a run draws again what it had drawn. */
  checkpoint?: DenoiseCheckpoint | undefined;
}

/** All that is needed to go on with a run, on another device too. Can be sent to workers and stored. */
export interface DenoiseCheckpoint {
  /** Steps done. */
  stepIndex: number;
  latents: Float32Array<ArrayBuffer>;
  /** The sampler's earlier results, slot by slot. */
  history: Float32Array<ArrayBuffer>;
}

/** The denoiser that a job belongs to, as far as the job knows it. */
interface JobOwner {
  batchKey(job: DenoiseJob): string;
  forget(job: DenoiseJob): void;
}

let serial = 0;

/**
 * One request on its way through a denoiser: `images` pictures of one size with one sampler plan. Made by
 * `Denoiser.start`, moved on by `Denoiser.step`, alone or together with others of equal `batchKey`. Its latents stay
 * on the GPU and do not depend on what it was batched with.
 */
export class DenoiseJob {
  readonly id: number = serial++;
  readonly engine: Engine;
  readonly plan: SamplerPlan;
  /** [images, channels, height, width] */
  readonly shape: readonly number[];
  readonly conditioning: Conditioning;
  readonly guidance: Guidance | undefined;
  readonly kept: KeptRegion | undefined;
  readonly extraChannels: Tensor<'float32'> | undefined;
  readonly control: JobControl | undefined;
  readonly #noise: () => Float32Array<ArrayBuffer>;
  readonly #denoiser: JobOwner;
  readonly #start: Tensor<'float32'>;
  readonly #owned: GPUBuffer[] = [];
  readonly #coefficients: GPUBuffer;
  readonly #stride: number;
  readonly #drawn: GPUBuffer | undefined;
  /** What guidance rescale multiplies each image's answer by. */
  readonly #factor: GPUBuffer | undefined;
  #sample: GPUBuffer;
  #next: GPUBuffer;
  #history: GPUBuffer | undefined;
  #nextHistory: GPUBuffer | undefined;
  #stepIndex: number;
  #latents: Tensor<'float32'>;
  #running = false;
  #disposed = false;

  /** Use `Denoiser.start`. Takes memory; the caller waits for it to settle. */
  constructor(engine: Engine, request: DenoiseRequest, denoiser: JobOwner) {
    const { plan, latents, guidance, conditioning } = request;
    this.engine = engine;
    this.plan = plan;
    this.shape = latents.shape;
    this.#start = latents;
    this.conditioning = conditioning;
    this.guidance = guidance;
    this.kept = request.kept;
    this.extraChannels = request.extraChannels;
    this.control = request.control;
    this.#noise = request.noise;
    this.#denoiser = denoiser;
    this.#stepIndex = request.checkpoint?.stepIndex ?? 0;
    try {
      if (guidance && conditioning.branches !== 2) {
        throw new OptionError('guidanceScale', 'guidance needs a conditioning without the prompt too.');
      }
      const packed = packPlan(plan);
      this.#stride = packed.stride;
      this.#coefficients = this.#take(packed.data.byteLength, 'sampler plan');
      engine.write(this.#coefficients, 0, packed.data);
      this.#sample = bufferOf(latents);
      this.#next = this.#take(this.elements * 4, 'latents');
      if (plan.noiseDraws > 0) this.#drawn = this.#take(this.elements * 4, 'noise');
      if (guidance?.rescale) this.#factor = this.#take(this.images * 4, 'guidance factor');
      if (plan.historySlots > 0) {
        this.#history = this.#take(plan.historySlots * this.elements * 4, 'history');
        this.#nextHistory = this.#take(plan.historySlots * this.elements * 4, 'history');
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.#latents = this.#tensorOf(this.#sample);
  }

  /** Steps done so far. */
  get stepIndex(): number {
    return this.#stepIndex;
  }

  /** Model calls in all; second-order samplers make two a step. */
  get steps(): number {
    return this.plan.steps.length;
  }

  get done(): boolean {
    return this.#stepIndex >= this.steps;
  }

  get images(): number {
    return this.shape[0]!;
  }

  /** Elements of all latents. */
  get elements(): number {
    return sizeOf(this.shape);
  }

  /** Bytes of GPU memory that the job itself holds, what it was given not counted. */
  get bytes(): number {
    return this.#owned.reduce((sum, { size }) => sum + size, paddedBytes(this.elements));
  }

  /** The noise level's timestep that the next step starts from, as the sampler counts them. */
  get timestep(): number {
    return this.plan.steps[Math.min(this.#stepIndex, this.steps - 1)]!.timestep;
  }

  /** Rows that the next step takes up in a model call. */
  get rows(): number {
    return this.images * (this.guided ? 2 : 1);
  }

  /** Whether the next step is guided. */
  get guided(): boolean {
    const { guidance, steps } = this;
    if (!guidance) return false;
    const [start, end] = guidance.interval ?? [0, 1];
    const share = this.#stepIndex / steps;
    return share >= start && share < end;
  }

  /** Jobs of equal keys may share the next model call. */
  get batchKey(): string {
    return this.#denoiser.batchKey(this);
  }

  /**
   * [images, channels, height, width], float32, on the GPU. The job's own: another tensor after every step, valid until
   * the next one.
   */
  get latents(): Tensor<'float32'> {
    this.check();
    return this.#latents;
  }

  /** @throws DisposedError */
  check(): void {
    if (this.#disposed) throw new DisposedError('The denoising job');
  }

  /**
   * Copies the job's state to the CPU.
   *
   * @throws DisposedError, DeviceLostError
   */
  async checkpoint(): Promise<DenoiseCheckpoint> {
    this.check();
    const stepIndex = this.#stepIndex;
    const { readBack } = this.engine;
    const bytes = this.elements * 4;
    const read = async (buffer: GPUBuffer | undefined, count: number): Promise<Float32Array<ArrayBuffer>> =>
      buffer ? new Float32Array((await readBack.read(buffer, count)).buffer) : new Float32Array();
    const [latents, history] = await Promise.all([
      read(this.#sample, bytes),
      read(this.#history, bytes * this.plan.historySlots),
    ]);
    return { stepIndex, latents, history };
  }

  /** Fills in what a checkpoint holds. */
  restore({ latents, history }: DenoiseCheckpoint): void {
    if (latents.length !== this.elements) {
      throw new OptionError(
        'checkpoint',
        `it is of ${latents.length} latents, this run has ${this.elements}. Resume with the options it was begun with.`,
      );
    }
    this.engine.write(this.#sample, 0, latents);
    if (this.#history) this.engine.write(this.#history, 0, history);
  }

  /** What the denoiser's kernels read and write. */
  get state(): {
    sample: GPUBuffer;
    next: GPUBuffer;
    history: GPUBuffer | undefined;
    nextHistory: GPUBuffer | undefined;
    coefficients: GPUBuffer;
    stride: number;
    drawn: GPUBuffer | undefined;
    factor: GPUBuffer | undefined;
  } {
    return {
      sample: this.#sample,
      next: this.#next,
      history: this.#history,
      nextHistory: this.#nextHistory,
      coefficients: this.#coefficients,
      stride: this.#stride,
      drawn: this.#drawn,
      factor: this.#factor,
    };
  }

  /** Marks the job as part of a call under way. */
  begin(): void {
    this.check();
    if (this.#running) throw new Error('A denoising job was given to two steps at the same time.');
    if (this.done) throw new Error('A denoising job was given to a step although it is done.');
    this.#running = true;
  }

  /** The call is over, one way or the other. */
  end(): void {
    this.#running = false;
    if (this.#disposed) this.#release();
  }

  /** Uploads this step's noise, if the sampler draws any. */
  draw(): void {
    if (!this.plan.steps[this.#stepIndex]!.drawsNoise) return;
    this.engine.write(this.#drawn!, 0, this.#noise());
  }

  /** Exchanges the latents with what was written to `next`. */
  swapLatents(): void {
    [this.#sample, this.#next] = [this.#next, this.#sample];
    this.#latents = this.#tensorOf(this.#sample);
  }

  /** Ends a step. */
  advance(): void {
    [this.#history, this.#nextHistory] = [this.#nextHistory, this.#history];
    this.#stepIndex++;
  }

  /** Gives all memory back. Idempotent; a call under way may finish first. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (!this.#running) this.#release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #release(): void {
    this.#denoiser.forget(this);
    for (const buffer of this.#owned) this.engine.buffers.release(buffer);
    this.#owned.length = 0;
    this.#start.dispose();
    disposeConditioning(this.conditioning);
    this.extraChannels?.dispose();
    this.control?.image.dispose();
    if (this.kept) for (const tensor of Object.values(this.kept)) tensor.dispose();
  }

  #take(bytes: number, label: string): GPUBuffer {
    const buffer = this.engine.buffers.acquire(paddedBytes(bytes / 4), label);
    this.#owned.push(buffer);
    return buffer;
  }

  #tensorOf(buffer: GPUBuffer): Tensor<'float32'> {
    return new Tensor('float32', this.shape, { engine: this.engine, buffer, storage: 'f32' });
  }
}
