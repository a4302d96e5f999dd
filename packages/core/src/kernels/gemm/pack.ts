import type { Lowering } from '../../plan/lowering.ts';
import type { Storage, TensorView } from '../../plan/plan.ts';
import { integerType } from '../../plan/quantized.ts';
import { bitsOf } from '../../tensor/dtype.ts';
import { storageBits, u32 } from '../shader.ts';
import source from './pack.wgsl';
import { address, addressParams, partsOf } from './pack-address.ts';
import { packIntegers, storedBits } from './pack-integers.ts';
import { quantizedBits, quantizeWeight } from './quantize-weight.ts';
import {
  multipliedColumns,
  roundUp,
  type GemmProblem,
  type PreparedB,
  type WeightSource,
} from './problem.ts';

const WORKGROUP = 256;

export interface PackLayout {
  layout: 'kn' | 'nk';
  /** Columns are padded to a multiple of this, depth (for `nk`) too. Multiples of 4. */
  columnStep: number;
  depthStep: number;
}

/**
 * B as a kernel wants it. Weights that lie in the file as wanted are bound as they are; others are rearranged by a
 * dispatch, which runs once at load when the operand is a weight. Activations are taken as they lie.
 */
export function prepareB(lowering: Lowering, problem: GemmProblem, want: PackLayout): PreparedB {
  const { b } = problem;
  if (b.kind === 'activation') {
    return {
      view: b.view,
      layout: b.layout,
      stride: b.stride,
      batchStrides: b.batchStrides,
      columns: problem.columns,
    };
  }
  return (
    packIntegers(lowering, problem, b) ??
    quantizeWeight(lowering, problem, b) ??
    asItLies(lowering, problem, b, want) ??
    pack(lowering, problem, b, want)
  );
}

/** Half the bytes where nothing is lost, or where the session says so: f16 weights stay f16 in every precision. */
export function packedStorage(lowering: Lowering, view: TensorView): Storage {
  if (lowering.weights !== 'as-stored') return 'f16';
  return view.storage === 'f16' || lowering.precision !== 'f32' ? 'f16' : 'f32';
}

/** Bits of the integers that a weight is multiplied as; `undefined` where it is packed as floats. */
export function integerBits(lowering: Lowering, problem: GemmProblem, b: WeightSource): 4 | 8 | undefined {
  return storedBits(lowering, b) ?? quantizedBits(lowering, problem, b);
}

/** Bits that an element of the weight takes as it is packed. */
export function packedBits(lowering: Lowering, problem: GemmProblem, b: WeightSource): number {
  const from = lowering.quantized(b.view);
  if (from) return bitsOf[integerType(from)];
  return quantizedBits(lowering, problem, b) ?? storageBits[packedStorage(lowering, b.view)];
}

function asItLies(
  lowering: Lowering,
  problem: GemmProblem,
  b: WeightSource,
  want: PackLayout,
): PreparedB | undefined {
  const { columns, depth } = problem;
  const [only, second] = b.depthAxes.filter(({ size }) => size > 1);
  const fits =
    !problem.gate &&
    b.groups === 1 &&
    !second &&
    b.view.storage === packedStorage(lowering, b.view) &&
    b.view.offset === 0 &&
    partsOf(lowering, b).length === 1 &&
    columns % want.columnStep === 0 &&
    (want.layout === 'kn'
      ? b.columnStride === 1 && (only?.stride ?? columns) === columns
      : (only?.stride ?? 1) === 1 && b.columnStride === depth && depth % want.depthStep === 0);
  if (!fits) return undefined;
  return {
    view: b.view,
    layout: want.layout,
    stride: want.layout === 'kn' ? columns : depth,
    batchStrides: [],
    columns,
  };
}

function pack(lowering: Lowering, problem: GemmProblem, b: WeightSource, want: PackLayout): PreparedB {
  const byColumn = want.layout === 'nk';
  const { groups } = b;
  const columns = roundUp(multipliedColumns(problem), want.columnStep);
  const depth = byColumn ? roundUp(problem.depth, want.depthStep) : problem.depth;
  const shape = byColumn ? [groups, columns, depth] : [groups, depth, columns];
  const view = lowering.scratch('packed', shape, packedStorage(lowering, b.view));
  const elements = groups * columns * depth;
  for (const part of partsOf(lowering, b)) {
    lowering.dispatch({
      name: `gemm_pack_${want.layout}${problem.gate ? '_gated' : ''}`,
      body: source,
      functions: address,
      inputs: { W: part.view },
      outputs: { Y: view },
      constants: { WORKGROUP, BY_COLUMN: byColumn, GATED: problem.gate !== undefined },
      params: {
        elements: u32(elements),
        columns: u32(columns),
        depth: u32(depth),
        ...addressParams(problem, b, part),
      },
      workgroups: Math.ceil(elements / (4 * WORKGROUP)),
    });
  }
  const stride = byColumn ? depth : columns;
  return { view, layout: want.layout, stride, batchStrides: groups > 1 ? [columns * depth] : [], columns };
}
