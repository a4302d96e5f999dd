import type { Capabilities } from '../../plan/capabilities.ts';
import type { DispatchSpec, Lowering } from '../../plan/lowering.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import { chooseFma } from './choose-fma.ts';
import { channelsInGroups } from './image-code.ts';
import { fmaKernel, type FmaTile } from './fma.ts';
import { partialElements, type PartialSums } from './output.ts';
import { packedStorage } from './pack.ts';
import { partsOf } from './pack-address.ts';
import {
  partialBytes,
  type ConvolutionSource,
  type GemmProblem,
  type PreparedB,
  type WeightSource,
} from './problem.ts';
import { quantizedBits } from './quantize-weight.ts';
import inputSource from './winograd_weight.wgsl';
import outputSource from './winograd_output.wgsl';

/**
 * 3x3 convolutions with 2.25 times fewer multiplications: Winograd's F(2x2, 3x3) (Lavin & Gray 2016, arXiv:1509.09308).
 * Each 2x2 patch of the output is `Aᵀ ((G g Gᵀ) ⊙ (Bᵀ d B)) A` of a 4x4 patch `d` of the input and the kernel `g`. Summed
 * over channels, the elementwise product is 16 matrix products. Kernels are transformed once at load; patches of the
 * input while they are read (`winograd-source.ts`); those of the output by a second dispatch, which finishes them.
 */
export interface WinogradShape {
  tile: FmaTile;
  /** Workgroups that share the depth of one tile. */
  slices: number;
}

/** Elements of a transformed patch. */
const ELEMENTS = 16;
const WORKGROUP = 128;

/** Largest sums between the two dispatches: more would show in what a run takes on the GPU. */
const LARGEST_SUMS = 64 * 2 ** 20;

/** Transformed kernels take 16 ninths of the memory: of small images that is much for what it saves. */
const LEAST_PATCHES = 256;

/** What estimates may be off. */
const WORTHWHILE = 0.9;

/** Whether the product is a convolution that can be computed so. */
export function isWinograd(lowering: Lowering, problem: GemmProblem): boolean {
  const { a, b, gate, output, columns } = problem;
  return (
    a.kind === 'convolution' &&
    a.direction === 'forward' &&
    a.axes.length === 2 &&
    a.axes.every(
      ({ kernel, stride, dilation, upsample, pad }) =>
        kernel === 3 && stride === 1 && dilation === 1 && upsample === 1 && pad <= 2,
    ) &&
    channelsInGroups(a, 4) &&
    b.kind === 'weight' &&
    b.groups === 1 &&
    !gate &&
    !output.part &&
    columns % 4 === 0 &&
    lowering.quantized(b.view) === undefined &&
    quantizedBits(lowering, problem, b) === undefined &&
    partsOf(lowering, b).length === 1
  );
}

/** Tile and split where that is expected to be faster than the convolution as one product. */
export function chooseWinograd(
  problem: GemmProblem,
  capabilities: Capabilities,
  directSeconds: number,
): WinogradShape | undefined {
  const products = winogradProducts(problem);
  if (products.rows < LEAST_PATCHES) return undefined;
  const { tile, slices, seconds } = chooseFma(products, capabilities);
  const bytes = partialBytes(products, slices);
  if (bytes > Math.min(LARGEST_SUMS, capabilities.limits.maxStorageBufferBindingSize)) return undefined;
  return seconds < WORTHWHILE * directSeconds ? { tile, slices } : undefined;
}

/** The 16 products of a convolution that `isWinograd`. */
export function winogradProducts(problem: GemmProblem): GemmProblem {
  const image = problem.a as ConvolutionSource;
  const [rows, columns] = image.axes.map(({ output }) => Math.ceil(output / 2));
  const images = problem.rows / (image.axes[0]!.output * image.axes[1]!.output);
  const count = images * rows! * columns!;
  return {
    name: `${problem.name}_winograd`,
    rows: count,
    columns: problem.columns,
    depth: image.channels,
    a: { kind: 'winograd', view: image.view, image, patches: [rows!, columns!] },
    b: problem.b,
    batch: [ELEMENTS],
    output: { view: problem.output.view, pitch: problem.columns, batchStride: count * problem.columns },
  };
}

export function winograd(lowering: Lowering, problem: GemmProblem, { tile, slices }: WinogradShape): void {
  const products = winogradProducts(problem);
  const view = lowering.scratch('winograd', [slices * partialElements(products)], 'f32');
  const partial: PartialSums = { view, slices };
  const b = transformedWeight(lowering, problem);
  lowering.dispatch(fmaKernel(products, b, tile, partial, lowering.nativeF16));
  lowering.dispatch(outputKernel(problem, products, partial));
}

function transformedWeight(lowering: Lowering, problem: GemmProblem): PreparedB {
  const weight = problem.b as WeightSource;
  const { columns } = problem;
  const { channels } = problem.a as ConvolutionSource;
  // Transformed, a weight of halves is no longer one.
  const storage = lowering.precision === 'f32' ? 'f32' : packedStorage(lowering, weight.view);
  const view = lowering.scratch('winograd_weight', [ELEMENTS, channels, columns], storage);
  const [rowStride, columnStride, channelStride] = weight.depthAxes.map(({ stride }) => stride);
  lowering.dispatch({
    name: 'winograd_weight',
    body: inputSource,
    inputs: { W: weight.view },
    outputs: { Y: view },
    constants: { WORKGROUP },
    params: {
      offset: u32(weight.view.offset),
      columns: u32(columns),
      channels: u32(channels),
      column_stride: u32(weight.columnStride),
      channel_stride: u32(channelStride!),
      tap_row: u32(rowStride!),
      tap_column: u32(columnStride!),
    },
    workgroups: Math.ceil((channels * columns) / 4 / WORKGROUP),
  });
  return { view, layout: 'kn', stride: columns, batchStrides: [channels * columns], columns };
}

function outputKernel(problem: GemmProblem, products: GemmProblem, partial: PartialSums): DispatchSpec {
  const { view, pitch } = problem.output;
  const epilogue = epilogueCode(problem.epilogue, view);
  const image = problem.a as ConvolutionSource;
  return {
    name: `${problem.name}_winograd_output`,
    body: outputSource,
    inputs: { P: partial.view, ...epilogue.inputs },
    outputs: { Y: view },
    functions: epilogue.functions,
    constants: { WORKGROUP },
    params: {
      patches: u32(products.rows),
      columns: u32(problem.columns),
      patch_rows: u32(Math.ceil(image.axes[0]!.output / 2)),
      patch_columns: u32(Math.ceil(image.axes[1]!.output / 2)),
      height: u32(image.axes[0]!.output),
      width: u32(image.axes[1]!.output),
      pitch: u32(pitch),
      slices: u32(partial.slices),
      slice: u32(partialElements(products)),
      ...epilogue.params,
    },
    workgroups: Math.ceil((products.rows * problem.columns) / 4 / WORKGROUP),
  };
}
