import type { Value, Node } from '../graph/graph.ts';
import type { EpilogueViews } from '../kernels/elementwise/epilogue.ts';
import type { ProducedMoments } from '../kernels/group-norm/produced.ts';
import type { ShaderSpec } from '../kernels/shader.ts';
import type { KernelTuning } from '../kernels/tuning.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Capabilities, Precision } from './capabilities.ts';
import type { Pair } from './joins.ts';
import type { Phase, Storage, TensorView, Work } from './plan.ts';
import type { Quantized } from './quantized.ts';
import type { Order } from './view.ts';
import type { WeightFormat } from './weight-format.ts';

/**
 * What an operator may do while it is lowered: look at its operands as views, allocate its results, emit dispatches.
 * Implemented by `PlanBuilder`. Rules that make plans good:
 * - a result that is only another way to read an operand is an `alias`, never a copy;
 * - take operands by `view` where the kernel can walk strides; `dense` copies if it must;
 * - a dispatch all of whose operands are weights runs once at load, by itself: pack weights with ordinary kernels.
 */
export interface Lowering {
  readonly capabilities: Capabilities;
  readonly precision: Precision;
  /** Whether kernels may use WGSL's `f16` type. */
  readonly nativeF16: boolean;
  /** What replaces the kernels' own choice of variants. */
  readonly tuning: KernelTuning;
  /** What to make of the float weights of the node that is lowered. */
  readonly weights: WeightFormat;

  /** The operand as it lies in memory. Weights are views of their file contents, in the file's dtype. */
  view(value: Value): TensorView;
  /** The operand dense from element 0 in `order` (row-major by default), any storage; copied only if it is not. */
  dense(value: Value, order?: Order): TensorView;
  /** The same for a view. `storage` also converts. */
  materialize(view: TensorView, want: { order?: Order; storage?: Storage }): TensorView;
  /** Phase in which the tensor is known: `load` for weights and what follows from them. */
  phase(view: TensorView): Phase;

  /**
   * Memory for a result, dense in `order` (row-major by default). Storage is chosen by dtype and precision; a kernel
   * that cannot own whole groups of four elements says `scalarStores`, and gets f32 in place of f16 without shader-f16.
   */
  allocate(value: Value, options?: { order?: Order; scalarStores?: boolean; storage?: Storage }): TensorView;
  /** Says that `value` is nothing but a view of existing memory. */
  alias(value: Value, view: TensorView): void;
  /**
   * Says that `value` is what these integers stand for. They are dequantized for whoever wants floats; kernels that
   * multiply integers ask for `quantized`, and what nobody reads is never made.
   */
  dequantized(value: Value, from: Quantized): void;
  /**
   * A weight of the file that no binding holds whole, as tensors one after the other along its first axis, each of a
   * multiple of `step` rows but the last; any other view alone.
   */
  parts(view: TensorView, step: number): readonly TensorView[];
  /** The integers that a weight is dequantized from, where `view` looks at one. */
  quantized(view: TensorView): Quantized | undefined;
  /** Says in which buffers a weight lies as integers, for reports. `format` as `describeQuantized` gives it. */
  keepsIntegers(weight: TensorView, format: string, buffers: readonly TensorView[]): void;
  /** Says why a kernel has to read a quantized weight as floats. */
  inflates(view: TensorView, reason: string): void;
  /**
   * Says that `value`, which was allocated, is a copy of `parts` one after the other along `axis`. Kernels that read rows
   * from two tensors ask for `pair`, and a copy that nobody reads is never made.
   */
  joined(value: Value, parts: readonly TensorView[], axis: number): void;
  /** The two tensors whose rows, one after the other, are the rows that `view` looks at. */
  pair(view: TensorView): Pair | undefined;
  /** Groups in which GroupNorm nodes normalize `value`; undefined where none does. */
  normalGroups(value: Value): number | undefined;
  /** Says that these are moments of what `view` was made to hold. */
  produced(view: TensorView, moments: ProducedMoments): void;
  /** Moments of what is in the buffer of `view`, and the view that holds all of that. */
  moments(view: TensorView): { of: TensorView; moments: ProducedMoments } | undefined;
  /** Memory for an intermediate of this operator alone. */
  scratch(label: string, shape: Shape, storage: Storage): TensorView;
  /** A small constant made by the operator. */
  constant(
    data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
    shape: Shape,
  ): TensorView;

  /** The node's epilogue with its operands as views. */
  epilogue(node: Node): EpilogueViews | undefined;
  dispatch(spec: DispatchSpec): void;
}

/** A dispatch to be: the shader in parts and how many workgroups. */
export interface DispatchSpec extends ShaderSpec {
  /** A number is spread over the grid (`flat_workgroup` in the shader); a triple is taken as it is. */
  workgroups: number | readonly [number, number, number];
  /** For profiles. Bytes default to what the bound tensors hold. */
  work?: Partial<Work>;
}
