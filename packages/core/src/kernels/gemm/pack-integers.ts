import type { Lowering } from '../../plan/lowering.ts';
import type { Storage, TensorView } from '../../plan/plan.ts';
import { describeQuantized, integerType, sharedAlong, type Quantized } from '../../plan/quantized.ts';
import { bitsOf } from '../../tensor/dtype.ts';
import { stridesOf } from '../../tensor/shape.ts';
import { u32, type Param } from '../shader.ts';
import { address, addressParams } from './pack-address.ts';
import integersSource from './pack_integers.wgsl';
import scalesSource from './pack_scales.wgsl';
import {
  multipliedColumns,
  range,
  roundUp,
  type GemmProblem,
  type PreparedB,
  type WeightSource,
} from './problem.ts';

const WORKGROUP = 64;

/** Depth is padded to a multiple of this. */
const DEPTH_STEP = 32;

/** Columns are padded to whole groups of eight, as every back end wants them. */
const COLUMN_STEP = 8;

/** Sizes of a packed weight, the same for every back end: plans for other shapes share it. */
export interface PackedSizes {
  columns: number;
  /** Of `chunkDepth`. */
  chunks: number;
}

/** Depth of a chunk: what one column has in it are 16 bytes, which are read together. */
export function chunkDepth(bits: 4 | 8): number {
  return 128 / bits;
}

/** Words of a chunk. */
export const CHUNK_WORDS = 4;

export function packedSizes(problem: GemmProblem, bits: 4 | 8): PackedSizes {
  return {
    columns: roundUp(multipliedColumns(problem), COLUMN_STEP),
    chunks: roundUp(problem.depth, DEPTH_STEP) / chunkDepth(bits),
  };
}

/** Runs of depth that share a scale. */
export function runsOf(depth: number, run: number): number {
  return run === Infinity ? 1 : Math.ceil(depth / run);
}

/** Bits of the integers that `packIntegers` makes of a weight; `undefined` where it makes none. */
export function storedBits(lowering: Lowering, b: WeightSource): 4 | 8 | undefined {
  const from = lowering.quantized(b.view);
  if (!from || !sharesScales(runAlongDepth(b, from))) return undefined;
  return bitsOf[integerType(from)] === 4 ? 4 : 8;
}

/** Whether eight neighbours along depth, which kernels read together, always share a scale. */
function sharesScales(run: number): boolean {
  return run === Infinity || run % 8 === 0;
}

/**
 * A dequantized weight as its integers, rearranged at load as kernels read them (see `pack_integers.wgsl`); `undefined`
 * for other weights and for those whose scales change from one element of depth to the next.
 */
export function packIntegers(
  lowering: Lowering,
  problem: GemmProblem,
  b: WeightSource,
): PreparedB | undefined {
  const from = lowering.quantized(b.view);
  if (!from) return undefined;
  const run = runAlongDepth(b, from);
  if (!sharesScales(run)) {
    lowering.inflates(b.view, 'its scales change along the sums of a product');
    return undefined;
  }
  const type = integerType(from);
  const bits = bitsOf[type] === 4 ? 4 : 8;
  const { columns, chunks } = packedSizes(problem, bits);
  const bias = type === 'int4' ? 8 : type === 'int8' ? 128 : 0;
  const q = lowering.scratch('integers', [b.groups, chunks, columns, CHUNK_WORDS], 'u32');
  const constants = { WORKGROUP, GATED: problem.gate !== undefined, BIAS: `${bias}` };
  const elements = b.groups * chunks * columns;
  lowering.dispatch({
    name: `gemm_pack_integers_${from.x.storage}`,
    body: integersSource,
    functions: [address, coordinates('integer_at', from, from.x)].join('\n'),
    inputs: { W: from.x },
    outputs: { Y: q },
    constants: { ...constants, BITS: bits },
    params: {
      elements: u32(elements),
      columns: u32(columns),
      chunks: u32(chunks),
      ...addressParams(problem, b),
      ...coordinateParams('integer_at', from, from.x),
    },
    workgroups: Math.ceil(elements / WORKGROUP),
  });

  const { zero } = from;
  const runs = runsOf(problem.depth, run);
  const paired = typeof zero !== 'number';
  const scale = lowering.scratch(
    'scales',
    [b.groups, runs, columns * (paired ? 2 : 1)],
    scaleStorage(lowering, from.scale),
  );
  const groups = (b.groups * runs * columns) / 4;
  lowering.dispatch({
    name: `gemm_pack_scales${paired ? '_zeros' : ''}`,
    body: scalesSource,
    functions: [
      address,
      coordinates('scale_at', from, from.scale),
      paired
        ? `${coordinates('zero_at', from, zero)}
fn zero_of(e: u32) -> f32 { return f32(Z_load(zero_at(e))) + BIAS; }`
        : 'fn zero_of(e: u32) -> f32 { return 0.0; }',
    ].join('\n'),
    inputs: { S: from.scale, ...(paired && { Z: zero }) },
    outputs: { Y: scale },
    constants: { ...constants, PAIRED: paired },
    params: {
      elements: u32(groups),
      columns: u32(columns),
      runs: u32(runs),
      run: u32(run === Infinity ? problem.depth : run),
      ...addressParams(problem, b),
      ...coordinateParams('scale_at', from, from.scale),
      ...(paired && coordinateParams('zero_at', from, zero)),
    },
    workgroups: Math.ceil(groups / WORKGROUP),
  });
  lowering.keepsIntegers(b.view, describeQuantized(from), [q, scale]);
  return packed(problem, b, q, { bits, scale, zero: paired ? undefined : zero + bias, run });
}

/** The prepared operand for packed integers. */
export function packed(
  problem: GemmProblem,
  b: WeightSource,
  view: TensorView,
  integers: NonNullable<PreparedB['integers']>,
): PreparedB {
  const { columns, chunks } = packedSizes(problem, integers.bits);
  return {
    view,
    layout: 'nk',
    stride: 0,
    // In words of `view`.
    batchStrides: b.groups > 1 ? [chunks * columns * CHUNK_WORDS] : [],
    columns,
    integers,
  };
}

/** f32 where everything is; files that have f16 keep it. */
function scaleStorage(lowering: Lowering, scale: TensorView): Storage {
  return lowering.precision === 'f32' && scale.storage !== 'f16' ? 'f32' : 'f16';
}

/**
 * How many neighbours along the depth of the product share a scale, every run of that length beginning at a multiple of
 * it; `Infinity` if all do, 1 where that cannot be told.
 */
function runAlongDepth({ view, depthAxes }: WeightSource, from: Quantized): number {
  const { shape } = from.x;
  const strides = stridesOf(shape);
  let run = 1;
  for (let i = depthAxes.length - 1; i >= 0; i--) {
    const { size, stride } = depthAxes[i]!;
    if (size === 1) continue;
    const axis = strides.findIndex((own, a) => own === stride && shape[a]! > 1);
    const start = axis < 0 ? 0 : Math.floor(view.offset / stride) % shape[axis]!;
    if (axis < 0 || start + size > shape[axis]!) return 1;
    const shared = sharedAlong(from, axis);
    if (shared === Infinity || (start % shared) + size <= shared) {
      run *= size;
      continue;
    }
    const isSlowest = depthAxes.slice(0, i).every((outer) => outer.size === 1);
    const own = greatestCommonDivisor(shared, start);
    return run * (isSlowest ? own : greatestCommonDivisor(own, size));
  }
  return Infinity;
}

export function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** `fn NAME(e) -> u32`: the element of `view` (integers, scales, zero points) that belongs to element e of the weight. */
function coordinates(name: string, { x, block }: Quantized, view: TensorView): string {
  const terms = range(x.shape.length).map((axis) => {
    const at = `((e / params.e_stride${axis}) % params.e_dim${axis})`;
    const blocked = view !== x && block?.axis === axis;
    return ` + ${blocked ? `(${at} / ${block.size}u)` : at} * params.${name}${axis}`;
  });
  return `fn ${name}(e: u32) -> u32 { return params.${name}_offset${terms.join('')}; }`;
}

function coordinateParams(name: string, { x }: Quantized, view: TensorView): Record<string, Param> {
  const strides = stridesOf(x.shape);
  return Object.fromEntries([
    [`${name}_offset`, u32(view.offset)],
    ...x.shape.flatMap((dim, axis) => [
      [`e_dim${axis}`, u32(dim)],
      [`e_stride${axis}`, u32(strides[axis]!)],
      [`${name}${axis}`, u32(view.strides[axis]!)],
    ]),
  ]) as Record<string, Param>;
}
