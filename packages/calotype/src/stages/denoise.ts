import type { Engine, Session, Storage, Tensor } from '@calotype/core';
import { ModelFolderError, OptionError } from '../errors.ts';
import { Batch, type Segment } from './batch.ts';
import { conditioningKey } from './conditioning.ts';
import { controlScale, residualNames } from './control.ts';
import { DenoiseJob, type DenoiseRequest } from './denoise-job.ts';
import { finishStep, writeModelInput, type FinishKernels } from './job-step.ts';
import type { StageKernels } from './kernels.ts';
import { bufferOf, emptyTensor, sizeOf } from './memory.ts';
import { RowGraph, type NamedTensors } from './row-calls.ts';

/** How a family's denoiser takes its latents. */
export interface DenoiserLayout {
  /** Name of the input for latents. */
  sample: string;
  /** Latents along each axis that make one token; 1 where the graph takes latents as they are. */
  patch: number;
  /** What timesteps are multiplied by before the model gets them. */
  timestepScale: number;
}

interface StepOptions {
  signal?: AbortSignal | undefined;
  after?: (() => void) | undefined;
}

/** Batches kept for the next step. */
const KEPT_BATCHES = 2;

let serial = 0;

/**
 * Takes requests through a denoising model step by step, several of them in one model call where their `batchKey`s are
 * equal: also at different steps, with different samplers, seeds, and guidance or none. Nothing comes back to the CPU.
 *
 * @example
 * using job = await denoiser.start(request);
 * while (!job.done) await denoiser.step([job]);
 */
export class Denoiser {
  readonly graph: RowGraph;
  readonly layout: DenoiserLayout;
  readonly #id: number = serial++;
  readonly #engine: Engine;
  readonly #kernels: StageKernels;
  /** Inputs for a ControlNet's residuals. */
  readonly #residuals: readonly string[];
  readonly #batches: Batch[] = [];
  /** Compiled after the first step, by what the model's output is stored as. */
  readonly #finishKernels = new Map<Storage, FinishKernels>();
  /** Bound where a kernel writes nothing. */
  #unused: Tensor | undefined;

  constructor(engine: Engine, session: Session, layout: DenoiserLayout, kernels: StageKernels) {
    this.graph = new RowGraph(engine, session, layout.sample);
    this.layout = layout;
    this.#engine = engine;
    this.#kernels = kernels;
    this.#residuals = residualNames(session.inputs.map(({ name }) => name));
  }

  get session(): Session {
    return this.graph.session;
  }

  /** Whether the graph takes a ControlNet's residuals. */
  get takesControl(): boolean {
    return this.#residuals.length > 0;
  }

  /**
   * Makes a job. It is at its first step, or where its checkpoint left it.
   *
   * @throws OptionError for what this model cannot do, OutOfMemoryError
   */
  async start(request: DenoiseRequest): Promise<DenoiseJob> {
    const job = new DenoiseJob(this.#engine, request, this);
    try {
      this.#check(job);
      await this.#engine.buffers.settled();
      if (request.checkpoint) job.restore(request.checkpoint);
      return job;
    } catch (error) {
      job.dispose();
      throw error;
    }
  }

  /**
   * Uploads weights and compiles for latents of this shape, so that steps start at once.
   *
   * @param job one of that shape; it is not moved on
   */
  async prepare(job: DenoiseJob, signal?: AbortSignal): Promise<void> {
    // What residuals look like is known only from a ControlNet's answer.
    if (this.takesControl) return;
    const batch = this.#batchOf([job]);
    await batch.calls.prepare({ [this.layout.sample]: batch.sample }, signal);
  }

  /**
   * Moves jobs of equal `batchKey` on by one step, with one model call for all of them. Resolves when the work is
   * submitted.
   *
   * @param options.after launches what goes with the step, in its last command buffer: the jobs have moved on then. It must
   *   not throw
   * @throws the signal's reason, and whatever running the model throws; then no job has moved on
   */
  async step(jobs: readonly DenoiseJob[], options: StepOptions = {}): Promise<void> {
    const [first, ...rest] = jobs;
    if (!first) return;
    options.signal?.throwIfAborted();
    const key = first.batchKey;
    const other = rest.find((job) => job.batchKey !== key);
    if (other) throw new Error(`Jobs of different batchKeys cannot share a step: ${key}; ${other.batchKey}`);
    const begun: DenoiseJob[] = [];
    try {
      for (const job of jobs) {
        job.begin();
        begun.push(job);
      }
      await this.#step(this.#batchOf(jobs), options);
    } finally {
      for (const job of begun) job.end();
    }
  }

  /** See `DenoiseJob.batchKey`. */
  batchKey(job: DenoiseJob): string {
    const parts = [
      `model ${this.#id}`,
      `latents[${job.shape.slice(1).join()}]`,
      conditioningKey(job.conditioning),
    ];
    if (job.extraChannels) parts.push(`extra ${job.extraChannels.shape[1]}`);
    if (job.control) parts.push(`control ${job.control.net.id}[${job.control.image.shape.slice(1).join()}]`);
    const nets = [this.graph, ...(job.control ? [job.control.net.graph] : [])];
    if (nets.some(({ timestepPerRow }) => !timestepPerRow)) parts.push(`timestep ${job.timestep}`);
    return parts.join(' ');
  }

  /** Lets go of what is kept for a job's next step. For jobs that will not take one. */
  forget(job: DenoiseJob): void {
    for (let i = this.#batches.length - 1; i >= 0; i--) {
      if (this.#batches[i]!.segments.some((segment) => segment.job === job)) {
        this.#batches.splice(i, 1)[0]!.dispose();
      }
    }
  }

  dispose(): void {
    for (const batch of this.#batches) batch.dispose();
    this.#batches.length = 0;
    this.#unused?.dispose();
  }

  async #step(batch: Batch, { signal, after }: StepOptions): Promise<void> {
    const { segments } = batch;
    const { patch, sample, timestepScale } = this.layout;
    const modelInput = await this.#kernels.get('model_input');
    const { launches } = this.#engine;
    const writeSample = (): void => {
      for (const segment of segments) {
        const extra = segment.job.extraChannels;
        writeModelInput(modelInput, segment, batch.sample, { patch, extra });
      }
    };
    // A ControlNet may read it too.
    if (this.takesControl) launches.together(writeSample);
    const before = this.takesControl ? undefined : writeSample;
    const timesteps = segments.flatMap(({ job, rows }) =>
      new Array<number>(rows).fill(job.timestep * timestepScale),
    );
    while (timesteps.length < batch.rows) timesteps.push(timesteps.at(-1)!);
    const residuals = await this.#residualsOf(batch, timesteps, signal);
    let moved = false as boolean;
    const finish = (results: Readonly<NamedTensors>): void => {
      const output = Object.values(results)[0]!;
      const kernels = this.#finishKernels.get(output.gpu!.storage);
      if (!kernels) return;
      for (const segment of segments) finishStep(kernels, segment, bufferOf(output), patch);
      moved = true;
      after?.();
    };
    let outputs: NamedTensors = {};
    try {
      const inputs = { [sample]: batch.sample, ...residuals };
      outputs = await batch.calls.run(inputs, timesteps, {
        ...(signal && { signal }),
        before,
        after: finish,
      });
      if (!moved) {
        await this.#compileFinish(Object.values(outputs)[0]!.gpu!.storage);
        // From here on no job can be left half way.
        signal?.throwIfAborted();
        launches.together(() => finish(outputs));
      }
    } catch (error) {
      // What came when the jobs had moved on, an abort, is for their next step to tell.
      if (!moved) throw error;
    } finally {
      for (const tensor of Object.values(outputs)) tensor.dispose();
      if (residuals !== batch.zeros) for (const tensor of Object.values(residuals)) tensor.dispose();
    }
  }

  async #compileFinish(output: Storage): Promise<void> {
    this.#finishKernels.set(output, {
      step: await this.#kernels.get('sampler_step', { output }),
      factor: await this.#kernels.get('guidance_factor', { output }),
      blend: await this.#kernels.get('blend'),
      unused: bufferOf((this.#unused ??= emptyTensor(this.#engine, [4], 'unused'))),
    });
  }

  /** A ControlNet's residuals for a batch, scaled job by job. */
  async #residualsOf(
    batch: Batch,
    timesteps: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<NamedTensors> {
    if (!this.takesControl) return {};
    const { net } = batch.segments[0]!.job.control!;
    const scales = batch.segments.map(({ job }) => controlScale(job.control, job.stepIndex, job.steps));
    const isOff = scales.every((scale) => scale === 0);
    if (isOff && batch.zeros) return batch.zeros;
    let sample = batch.sample;
    if (batch.controlSample) {
      sample = batch.controlSample;
      const modelInput = await this.#kernels.get('model_input');
      this.#engine.launches.together(() => {
        for (const segment of batch.segments) {
          writeModelInput(modelInput, segment, sample, { patch: 1, extra: undefined });
        }
      });
    }
    const outputs = await batch.controlCalls!.run({ sample }, timesteps, signal ? { signal } : {});
    const residuals: NamedTensors = {};
    try {
      for (const [i, name] of this.#residuals.entries()) {
        const output = outputs[net.residuals[i]!]!;
        residuals[name] = await this.#scaled(output, batch.segments, scales);
      }
      // Once is enough to know the shapes of what changes nothing.
      if (isOff) batch.zeros = residuals;
      return residuals;
    } catch (error) {
      for (const tensor of Object.values(residuals)) tensor.dispose();
      throw error;
    } finally {
      for (const tensor of Object.values(outputs)) tensor.dispose();
    }
  }

  async #scaled(output: Tensor, segments: readonly Segment[], scales: readonly number[]): Promise<Tensor> {
    const affine = await this.#kernels.get('affine', { x: output.gpu!.storage });
    const result = emptyTensor(this.#engine, output.shape, 'residual');
    const rowElements = sizeOf(output.shape.slice(1));
    segments.forEach(({ first, rows }, i) => {
      const [from, elements] = [first * rowElements, rows * rowElements];
      const buffers = { x: bufferOf(output), y: bufferOf(result) };
      affine(buffers, { elements, xFirst: from, yFirst: from, scale: scales[i]!, shift: 0 }, elements);
    });
    return result;
  }

  #batchOf(jobs: readonly DenoiseJob[]): Batch {
    const known = this.#batches.find((batch) => batch.fits(jobs));
    if (known) return known;
    const [job] = jobs;
    const [, channels, height, width] = job!.shape as [number, number, number, number];
    const all = channels + (job!.extraChannels?.shape[1] ?? 0);
    const { patch } = this.layout;
    const rowShape =
      this.graph.shapeOf(this.layout.sample)?.length === 3
        ? [(height * width) / patch ** 2, all * patch ** 2]
        : [all, height, width];
    const batch = new Batch(this.graph, jobs, rowShape, job!.control?.net);
    this.#batches.unshift(batch);
    if (this.#batches.length > KEPT_BATCHES) this.#batches.pop()!.dispose();
    return batch;
  }

  /** Refuses a job that this model cannot do. */
  #check(job: DenoiseJob): void {
    const { session, main } = this.graph;
    const given = new Set([
      ...Object.keys(job.conditioning.rows),
      ...Object.keys(job.conditioning.shared),
      ...(job.control ? this.#residuals : []),
      main,
      'timestep',
    ]);
    if (this.takesControl && !job.control) {
      throw new OptionError(
        'controlImage',
        'this model adds the residuals of a ControlNet to its own. Load one beside it (option controlnet) and give controlImage.',
      );
    }
    if (!this.takesControl && job.control) {
      throw new OptionError(
        'controlImage',
        "this model's graph has no inputs for a ControlNet's residuals. Export its UNet with them (down_block_additional_residuals, mid_block_additional_residual).",
      );
    }
    const missing = session.inputs.filter(({ name }) => !given.has(name)).map(({ name }) => name);
    if (missing.length > 0) {
      throw new ModelFolderError(
        'model.onnx',
        `needs the inputs ${missing.join(', ')}, which nothing here makes.`,
      );
    }
    const declared = this.graph.shapeOf(main)?.[1];
    const channels = job.shape[1]! + (job.extraChannels?.shape[1] ?? 0);
    if (this.layout.patch === 1 && typeof declared === 'number' && declared !== channels) {
      throw new OptionError(
        'model',
        `its denoiser takes ${declared} channels, and this pipeline gives ${channels}. ` +
          (declared > job.shape[1]! ? 'Models of 9 channels are for InpaintPipeline.' : ''),
      );
    }
  }
}
