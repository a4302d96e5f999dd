import type { Engine } from '../gpu/engine.ts';
import type { PrepareProgress } from '../gpu/load.ts';
import type { Model } from '../onnx/model.ts';
import type { Precision } from '../plan/capabilities.ts';
import type { WeightFormat } from '../plan/weight-format.ts';
import type { Tensors } from './feeds.ts';

export interface SessionOptions {
  /** The engine to run on; it stays the caller's. Without one the session makes its own and disposes it. */
  engine?: Engine;
  /** How activations are stored. The engine's by default. */
  precision?: Precision;
  /**
   * Inputs that stay the same over several runs (a prompt's embedding). What depends on them and on weights alone is
   * computed again only when another tensor is passed, or after `tensor.markChanged()`.
   */
  stableInputs?: readonly string[];
  /**
   * What to make of float weights while they stream to the GPU: `int8` and `int4` take a half and a quarter of float16's
   * memory. Layers that would suffer stay float16 (docs/quantization.md). `as-stored` by default.
   */
  weights?: WeightFormat;
  /** Aborts the reading of the model's structure. Runs and `prepare` have their own. */
  signal?: AbortSignal;
  /** Hears of the progress of every preparation that has no listener of its own. */
  onProgress?: (progress: PrepareProgress) => void;
  /**
   * Whether onnxruntime-web may run what this library cannot: operators without kernels, and whole models where there
   * is no WebGPU. It is loaded only then. `allow` by default; `session.report()` tells what it runs.
   */
  fallback?: 'allow' | 'forbid';
  /** Edits the model before anything is made of it: adds outputs, takes nodes away. */
  rewrite?: (model: Model) => Model;
  /** Opens models whose weights are not there, to plan them. Running one throws `InvalidModelError`. */
  allowMissingExternalData?: boolean;
  /** How many sets of input shapes stay prepared at once; the least recently used is let go. 4 by default. */
  maxPrograms?: number;
  /** Looks for NaN and infinities in the outputs of every run, which then waits for the GPU. */
  checkNumerics?: boolean;
}

export interface PrepareOptions {
  signal?: AbortSignal;
  onProgress?: (progress: PrepareProgress) => void;
}

export interface RunOptions extends PrepareOptions {
  /** Tensors on the GPU to write outputs into, by name. Outputs not named get new tensors. */
  outputs?: Readonly<Tensors>;
  /**
   * Launches `CustomKernel`s that make inputs: they go in the first command buffer of the run, which costs less than one of
   * their own. Called again where a run is made again because memory ran out.
   */
  before?: (() => void) | undefined;
  /** Launches those that take up the results, in the last command buffer. Of an abort that comes later only `run` tells. */
  after?: ((results: Readonly<Tensors>) => void) | undefined;
}
