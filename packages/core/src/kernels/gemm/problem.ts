import type { Pair } from '../../plan/joins.ts';
import type { TensorView } from '../../plan/plan.ts';
import type { EpilogueViews } from '../elementwise/epilogue.ts';

/**
 * A batched matrix product `Y[b] = epilogue(A[b] · B[b])` with A of `rows` × `depth` and B of `depth` × `columns`.
 * Matrix products and convolutions are both stated so: a convolution is a product whose A is read from an image
 * (`ConvolutionSource`), never copied out of it.
 */
export interface GemmProblem {
  /** What it serves, for kernel names: `matmul`, `conv`. */
  name: string;
  rows: number;
  columns: number;
  depth: number;
  a: DenseSource | ConvolutionSource | WinogradSource;
  b: BSource;
  /** Sizes of the batch axes, outermost first. Empty where there is one product. */
  batch: readonly number[];
  output: OutputPlace;
  /** `Y = left · activation(right)` where B has `2 · columns` columns, the two operands one after the other. */
  gate?: Gate;
  epilogue?: EpilogueViews | undefined;
  /** Whether a GroupNorm follows that wants moments of the result, an image (`wantsMoments`). */
  normalized?: boolean;
}

/** A matrix whose rows are contiguous: element (b, m, k) at `offset + Σ b·batchStrides + m·rowStride + k`. */
export interface DenseSource {
  kind: 'dense';
  view: TensorView;
  rowStride: number;
  batchStrides: readonly number[];
  /** Where rows of `view` are read instead. */
  pair?: Pair;
}

/**
 * An image [N, C, …spatial] seen as a matrix: rows are output positions (image, then position), columns are kernel
 * taps times channels, channels fastest. Strides come from the view.
 */
export interface ConvolutionSource {
  kind: 'convolution';
  view: TensorView;
  /** Channels that one group reads. */
  channels: number;
  /** Channel step from one batch (group) to the next. */
  groupStride: number;
  /** One entry for each spatial axis, outermost first. */
  axes: readonly ConvolutionAxis[];
  /**
   * `forward`: input position = output · stride - pad + tap · dilation.
   * `transposed`: output + pad - tap · dilation = input · stride, where that divides.
   */
  direction: 'forward' | 'transposed';
  /**
   * Four convolutions over one image, of which product `batch` is padded by 1 before its first row where `batch / 2` is 0,
   * before its first column where `batch % 2` is 0, and not at all elsewhere. `pad` of the axes does not count then.
   */
  phases?: boolean;
  /** Where channels of `view` are read instead. */
  pair?: Pair;
}

/**
 * A 3x3 convolution as 16 products, one for each element of a transformed 4x4 patch: rows are patches (image, then
 * position), columns channels. See `winograd.ts`.
 */
export interface WinogradSource {
  kind: 'winograd';
  view: TensorView;
  image: ConvolutionSource;
  /** Patches along each axis. */
  patches: readonly [number, number];
}

export interface ConvolutionAxis {
  input: number;
  output: number;
  kernel: number;
  stride: number;
  dilation: number;
  /** Padding before the first element. */
  pad: number;
  /** Nearest-neighbour upsampling of the input before the convolution: 1 or 2. */
  upsample: number;
}

export type BSource = WeightSource | ActivationSource;

/** Known at load: packed once as the chosen kernel likes it. */
export interface WeightSource {
  kind: 'weight';
  view: TensorView;
  /** Different matrices in it: 1 (the same for the whole batch) or one for each element of a single batch axis. */
  groups: number;
  /** Strides in elements: from group to group, from column to column, and along the axes that make up `depth`. */
  groupStride: number;
  columnStride: number;
  depthAxes: readonly { size: number; stride: number }[];
  /** Bits of the integers that kernels multiply by; none where it is packed as floats. */
  bits?: 4 | 8;
}

/** Computed at run time: `kn` has contiguous rows (along columns), `nk` contiguous columns (along depth). */
export interface ActivationSource {
  kind: 'activation';
  view: TensorView;
  layout: 'kn' | 'nk';
  stride: number;
  batchStrides: readonly number[];
}

/** Element (b, m, n) is element `b · batchStride + m · pitch + n` of the output's memory. */
export interface OutputPlace {
  view: TensorView;
  pitch: number;
  batchStride: number;
  /**
   * The product is only a part of the tensor, from this element on: its depth cannot be split then. Rows may end inside
   * a group of four columns; the elements up to the group's end are overwritten.
   */
  part?: { offset: number };
  /**
   * Rows of four products are pixels of one image: row m of product b is pixel (b / 2, b % 2) of the m-th square of 2x2
   * pixels, of which there are `squares` beside each other.
   */
  interleaved?: { squares: number };
}

export interface Gate {
  /** Name in the table of scalar functions. */
  activation: string;
  /** Which half of the columns goes through the activation. */
  half: 0 | 1;
  /** Added before: one element for each of the `2 · columns` columns, contiguous. */
  bias?: TensorView | undefined;
}

/** B ready for a kernel. */
export interface PreparedB {
  view: TensorView;
  layout: 'kn' | 'nk';
  stride: number;
  batchStrides: readonly number[];
  /** Columns held, padding included: the kernel may read groups of four up to here. */
  columns: number;
  /** A weight that stays in integers: `view` holds them as `pack_integers.wgsl` lays them down, `layout` is `nk`. */
  integers?: PackedIntegers;
}

/** How a kernel makes floats of packed integers: `(q - zero) · scale`, q unsigned. */
export interface PackedIntegers {
  bits: 4 | 8;
  /** [group][run of depth][column], or pairs of scale and zero point where the zero points differ. */
  scale: TensorView;
  /** One for all; `undefined` where they lie beside the scales. */
  zero: number | undefined;
  /** Neighbours along depth that share a scale: all of them (`Infinity`) or a multiple of 8. */
  run: number;
}

/** The same product before its gate, the pairs of operands in groups of four beside each other. */
export function withoutGate(problem: GemmProblem): GemmProblem {
  const { gate: _, ...rest } = problem;
  const columns = 2 * problem.columns;
  return {
    ...rest,
    columns,
    output: { ...problem.output, pitch: columns, batchStride: problem.rows * columns },
  };
}

/** Number of products. */
export function batchSize(problem: GemmProblem): number {
  return problem.batch.reduce((product, size) => product * size, 1);
}

/** Columns of B that the kernel multiplies: twice the output's with a gate, padded to whole groups. */
export function multipliedColumns(problem: GemmProblem): number {
  return roundUp(problem.columns, 4) * (problem.gate ? 2 : 1);
}

export function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** Bytes of the sums that `slices` workgroups a tile leave to be added up, in f32. */
export function partialBytes(problem: GemmProblem, slices: number): number {
  return 4 * problem.rows * multipliedColumns(problem) * batchSize(problem) * slices;
}
