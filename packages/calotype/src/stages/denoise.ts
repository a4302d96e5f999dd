import { CustomKernel, Tensor, type Engine, type Session, type Storage } from '@calotype/core';
import { OptionError } from '../errors.ts';
import { packPlan } from '../samplers/index.ts';
import type { SamplerPlan } from '../samplers/index.ts';
import samplerStep from './sampler-step.wgsl';
import scale from './scale.wgsl';

const WORKGROUP = 256;

export interface DenoiseRequest {
  plan: SamplerPlan;
  /** Start latents [images, channels, height, width], already at the first step's noise level. Not changed. */
  latents: Tensor<'float32'>;
  /**
   * [copies · images, tokens, channels]: as many copies as `copiesFor` says. With guidance the first is without the
   * prompt and the second with it.
   */
  embeddings: Tensor;
  /** Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598); `undefined` for none. */
  guidanceScale: number | undefined;
  /** Noise for one step, as many elements as the latents. */
  noise: (step: number) => Float32Array<ArrayBuffer>;
  signal?: AbortSignal | undefined;
  /** Called when the GPU has finished the step. `latents` may be read until the next step. */
  onStep?: ((step: number, latents: Tensor<'float32'>) => void | Promise<void>) | undefined;
}

/** Runs a denoiser's whole loop on the GPU. Nothing comes back to the CPU. */
export class Denoiser {
  readonly #engine: Engine;
  readonly #session: Session;
  readonly #scale: CustomKernel;
  /** By the storage of the model's answer, which its plan decides. */
  readonly #steps = new Map<Storage, CustomKernel>();

  private constructor(engine: Engine, session: Session, scaleKernel: CustomKernel) {
    this.#engine = engine;
    this.#session = session;
    this.#scale = scaleKernel;
  }

  static async create(engine: Engine, session: Session): Promise<Denoiser> {
    return new Denoiser(engine, session, await createScale(engine));
  }

  /**
   * How often the latents of all images go into one call: twice with guidance, else once, or as often as fills the
   * batch that the graph was exported with.
   *
   * @throws OptionError where no number of copies fits the graph's batch
   */
  copiesFor(images: number, guided: boolean): number {
    const batch = this.#session.inputs.find(({ name }) => name === 'sample')?.shape?.[0];
    const wanted = guided ? 2 : 1;
    if (typeof batch !== 'number' || batch === wanted * images) return wanted;
    if (!guided && batch % images === 0) return batch / images;
    throw new OptionError(
      'numImages',
      `this model was exported for a batch of ${batch}, and ${images} images ${guided ? 'with' : 'without'} guidance make ${wanted * images}. Export it with a dynamic batch, or ask for ${guided ? batch / 2 : batch} images.`,
    );
  }

  /** Uploads weights and compiles for latents of this shape, so that `run` starts at once. */
  async prepare(
    shape: readonly number[],
    embeddings: Tensor,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const rows = embeddings.shape[0]!;
    const elements = rows * shape.slice(1).reduce((product, dim) => product * dim, 1);
    using sample = this.#tensor(
      'sample',
      [rows, ...shape.slice(1)],
      this.#engine.buffers.acquire(paddedBytes(elements), 'sample'),
    );
    await this.#session.prepare(
      { ...this.#inputs(sample, 0), encoder_hidden_states: embeddings },
      signal ? { signal } : {},
    );
  }

  /**
   * @returns the last latents, on the GPU
   * @throws the signal's reason, and whatever running the model throws
   */
  async run(request: DenoiseRequest): Promise<Tensor<'float32'>> {
    const { plan, latents, embeddings, signal } = request;
    const { buffers, device } = this.#engine;
    const shape = latents.shape;
    const images = shape[0]!;
    const copies = this.copiesFor(images, request.guidanceScale !== undefined);
    const elements = shape.reduce((product, dim) => product * dim, 1);
    const bytes = paddedBytes(elements);
    const packed = packPlan(plan);
    const owned: GPUBuffer[] = [];
    const take = (size: number, label: string): GPUBuffer => {
      const buffer = buffers.acquire(Math.max(16, Math.ceil(size / 16) * 16), label);
      owned.push(buffer);
      return buffer;
    };
    let result: GPUBuffer | undefined;
    try {
      const coefficients = take(packed.data.byteLength, 'sampler plan');
      device.queue.writeBuffer(coefficients, 0, packed.data);
      const noise = take(bytes, 'noise');
      const modelInput = take(copies * bytes, 'model input');
      let [sample, next] = [take(bytes, 'sample'), take(bytes, 'sample')];
      const historyBytes = Math.max(16, plan.historySlots * elements * 4);
      let [history, nextHistory] = [take(historyBytes, 'history'), take(historyBytes, 'history')];
      await buffers.settled();

      this.#copy(latents, sample, elements, 1, 1);
      this.#copy(latents, modelInput, elements, plan.steps[0]!.inputScale, copies);
      const input = this.#tensor('sample', [copies * images, ...shape.slice(1)], modelInput);
      for (const [index, step] of plan.steps.entries()) {
        signal?.throwIfAborted();
        if (step.drawsNoise) device.queue.writeBuffer(noise, 0, request.noise(index));
        const outputs = await this.#session.run(
          { ...this.#inputs(input, step.timestep), encoder_hidden_states: embeddings },
          signal ? { signal } : {},
        );
        const [output] = Object.values(outputs);
        const kernel = await this.#stepKernel(output!.gpu!.storage);
        kernel.run(
          {
            sample,
            output: output!.gpu!.buffer,
            history,
            noise,
            plan: coefficients,
            next,
            next_history: nextHistory,
            model_input: modelInput,
          },
          {
            elements,
            slots: plan.historySlots,
            step: index,
            stride: packed.stride,
            copies,
            guided: request.guidanceScale === undefined ? 0 : 1,
            guidance: request.guidanceScale ?? 1,
            nextInputScale: plan.steps[index + 1]?.inputScale ?? 1,
          },
          Math.ceil(elements / WORKGROUP),
        );
        for (const tensor of Object.values(outputs)) tensor.dispose();
        [sample, next] = [next, sample];
        [history, nextHistory] = [nextHistory, history];
        if (request.onStep) {
          await device.queue.onSubmittedWorkDone();
          await request.onStep(
            index,
            new Tensor('float32', shape, { engine: this.#engine, buffer: sample, storage: 'f32' }),
          );
        }
      }
      result = sample;
      return new Tensor('float32', shape, { engine: this.#engine, buffer: sample, storage: 'f32' });
    } finally {
      for (const buffer of owned) if (buffer !== result) buffers.release(buffer);
    }
  }

  /** A tensor of f32 elements under the dtype that the graph declares for the input. */
  #tensor(name: string, shape: readonly number[], buffer: GPUBuffer): Tensor {
    const declared = this.#session.inputs.find((input) => input.name === name)?.dtype;
    const dtype = declared === 'float16' ? 'float16' : 'float32';
    return new Tensor(dtype, shape, { engine: this.#engine, buffer, storage: 'f32' });
  }

  async #stepKernel(storage: Storage): Promise<CustomKernel> {
    const known = this.#steps.get(storage);
    if (known) return known;
    const kernel = await CustomKernel.create(this.#engine, {
      name: 'sampler_step',
      body: samplerStep,
      inputs: { sample: 'f32', output: storage, history: 'f32', noise: 'f32', plan: 'f32' },
      outputs: { next: 'f32', next_history: 'f32', model_input: 'f32' },
      params: {
        elements: 'u32',
        slots: 'u32',
        step: 'u32',
        stride: 'u32',
        copies: 'u32',
        guided: 'u32',
        guidance: 'f32',
        nextInputScale: 'f32',
      },
      constants: { WORKGROUP },
    });
    this.#steps.set(storage, kernel);
    return kernel;
  }

  /** The inputs every denoiser has, in the names, dtypes and ranks of this graph. */
  #inputs(sample: Tensor, timestep: number): Record<string, Tensor> {
    const declared = this.#session.inputs.find(({ name }) => name === 'timestep');
    if (!declared?.dtype) throw new OptionError('model', "the denoiser has no input 'timestep'.");
    const { shape, dtype } = declared;
    const sampleBatch = this.#session.inputs.find(({ name }) => name === 'sample')?.shape?.[0];
    const perImage = shape?.length === 1 && typeof shape[0] === 'string' && shape[0] === sampleBatch;
    const count = typeof shape?.[0] === 'number' ? shape[0] : perImage ? sample.shape[0]! : 1;
    const values = new Array<number>(shape?.length === 0 ? 1 : count).fill(timestep);
    return {
      sample,
      timestep: Tensor.from(
        dtype === 'string' ? 'float32' : dtype,
        shape?.length === 0 ? [] : [count],
        values,
      ),
    };
  }

  #copy(from: Tensor, to: GPUBuffer, elements: number, factor: number, copies: number): void {
    const source = from.gpu;
    if (!source) {
      const scaled = Float32Array.from(from.cpu as Float32Array, (x) => x * factor);
      for (let copy = 0; copy < copies; copy++) {
        this.#engine.device.queue.writeBuffer(to, copy * elements * 4, scaled);
      }
      return;
    }
    this.#scale.run(
      { x: source.buffer, y: to },
      { elements, offset: 0, copies, scale: factor, shift: 0 },
      Math.ceil(elements / WORKGROUP),
    );
  }

  dispose(): void {
    for (const kernel of this.#steps.values()) kernel.dispose();
    this.#scale.dispose();
  }
}

/** Bytes of a buffer for f32 elements; buffers end on a multiple of 16. */
export function paddedBytes(elements: number): number {
  return Math.max(16, Math.ceil((elements * 4) / 16) * 16);
}

/** The kernel of `scale.wgsl`: an affine copy. */
export function createScale(engine: Engine): Promise<CustomKernel> {
  return CustomKernel.create(engine, {
    name: 'scale',
    body: scale,
    inputs: { x: 'f32' },
    outputs: { y: 'f32' },
    params: { elements: 'u32', offset: 'u32', copies: 'u32', scale: 'f32', shift: 'f32' },
    constants: { WORKGROUP },
  });
}
