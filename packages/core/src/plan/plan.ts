import type { UnsupportedOp } from '../errors.ts';
import type { TensorRef } from '../onnx/model.ts';
import type { DataType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Precision } from './capabilities.ts';

/**
 * A plan: what to run for one set of input shapes, as plain data that prints. No GPU object is in it; the same plan
 * runs on any device with the `Capabilities` it was made for.
 */
export interface Plan {
  precision: Precision;
  buffers: PlanBuffer[];
  /** In execution order, sorted by phase: all of `load`, then `request`, then `run`. */
  steps: Step[];
  /** Inputs that something reads. */
  inputs: Map<string, TensorView>;
  outputs: Map<string, TensorView>;
  /** Bytes of weights that stay on the GPU. */
  weightBytes: number;
  /** Largest sum of intermediate bytes alive at once during a run, after reuse. */
  intermediateBytes: number;
  /** Operators of the fused graph by what runs them. */
  operators: OperatorCount[];
  /** Products and attentions whose kernel is not the rules' choice, but what was measured to be faster on the device. */
  tuned: string[];
  /** Weights of few bits, in the order of their use. */
  quantized: QuantizedWeight[];
  /** Concatenations that are computed at every run. */
  joins: Join[];
}

/** A tensor that others make up, one after the other. */
export interface Join {
  name: string;
  /** Why they are copied together; absent where all that read it read the two tensors where they lie. */
  copied?: string;
}

/** A weight that is stored in integers, in the model's file or since it was loaded. */
export interface QuantizedWeight {
  /** Of the tensor with the integers. */
  name: string;
  /** `uint4 in blocks of 32`, `int8 by channel`. */
  format: string;
  /** What it takes on the GPU, scales included. */
  bytes: number;
  /** Why it lies on the GPU in floats, where it does. */
  inflated?: string;
}

export interface OperatorCount {
  op: string;
  domain: string;
  nodes: number;
  runtime: 'webgpu' | 'onnxruntime';
}

/** Index into `Plan.buffers`. */
export type BufferId = number;

/**
 * When a step runs: once at load (it depends on weights only), once per request (it depends on inputs that the caller
 * declared stable from run to run), or at every run.
 */
export type Phase = 'load' | 'request' | 'run';

export interface PlanBuffer {
  label: string;
  bytes: number;
  phase: Phase;
  content:
    /** Given by the caller at each run. */
    | { kind: 'input'; name: string }
    /** Bytes of a file, uploaded as they are stored there. */
    | { kind: 'weight'; ref: TensorRef }
    /** Uploaded from memory. */
    | { kind: 'constant'; data: Uint8Array<ArrayBuffer> }
    /** Written by steps. `key` names load-phase contents, so that plans for other shapes share them. */
    | { kind: 'computed'; key?: string }
    /** Written by steps and handed to the caller. */
    | { kind: 'output'; name: string };
}

/** How elements lie in a buffer. The second row is read-only: raw file contents and small integers. */
export type Storage =
  | 'f32' | 'f16' | 'i32' | 'u32'
  | 'bf16' | 'i64' | 'i8' | 'u8' | 'i4' | 'u4'; // prettier-ignore

/**
 * A tensor in a buffer: shape in the order the ONNX operator sees, strides and offset in elements. Transposing,
 * slicing, expanding and (mostly) reshaping only make another view. Channels-last is nothing but a view of shape
 * [N, C, H, W] whose channel stride is 1.
 */
export interface TensorView {
  buffer: BufferId;
  dtype: DataType;
  storage: Storage;
  shape: Shape;
  /** Elements. 0 along a broadcast axis. */
  strides: readonly number[];
  /** Elements from the start of the buffer. */
  offset: number;
}

export type Step = Dispatch | Island;

/** One compute dispatch. */
export interface Dispatch {
  kind: 'dispatch';
  /** Node it serves, for profiles. */
  label: string;
  kernel: Kernel;
  /** In the order of `kernel.bindings`; the uniform block, where there is one, comes last and is not listed. */
  buffers: BufferId[];
  /** Contents of the uniform block. */
  params: Uint8Array<ArrayBuffer>;
  grid: readonly [number, number, number];
  phase: Phase;
  /** Floating-point operations and bytes moved, for profiles. */
  work: Work;
}

export interface Work {
  flops: number;
  bytes: number;
}

/** A compute pipeline as data. Equal `code` is one pipeline. */
export interface Kernel {
  /** One name everywhere: pipeline label, trace span, bench id. For example `conv2d_tiled_f16`. */
  name: string;
  /** Complete WGSL with an entry point `main`. */
  code: string;
  bindings: readonly ('read' | 'write')[];
}

/** A group of operators without kernels, run by onnxruntime-web on the same device. */
export interface Island {
  kind: 'island';
  label: string;
  phase: Phase;
  /** ONNX model of the group, shapes concrete. */
  model: Uint8Array<ArrayBuffer>;
  /** What `model` expects as external data, by location. */
  weights: Map<string, TensorRef>;
  inputs: Port[];
  outputs: Port[];
  /** What is in it, and why each has no kernel here. */
  operators: UnsupportedOp[];
}

/** An input or output of an island's model: row-major from the start of its buffer, in f32, i32 or u32. */
export interface Port {
  name: string;
  view: TensorView;
}
