import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import gatherElementsSource from '../kernels/gather/gather-elements.wgsl';
import gatherNdSource from '../kernels/gather/gather-nd.wgsl';
import gatherSource from '../kernels/gather/gather.wgsl';
import { indexedKernel } from '../kernels/movement/indexed.ts';
import { dequantizedReads } from '../kernels/quantize/dequantize.ts';
import { quantizeTable } from '../kernels/quantize/quantize-table.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { TensorView } from '../plan/plan.ts';
import { describeQuantized } from '../plan/quantized.ts';
import { isDense } from '../plan/view.ts';
import { equalShapes, formatShape, normalizeAxis, sizeOf, stridesOf } from '../tensor/shape.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { constantOperand, describe, intAttribute, operand } from './operands.ts';
import { forEachIndex, readView, rowMajorView } from './views.ts';

/** Along which axis of its first operand a node works. */
export function axisOf(node: Node, missing: number): number {
  return normalizeAxis(intAttribute(node, 'axis', missing), operand(node, 0).shape.length, describe(node));
}

/** A negative index counts from the end. Throws for one that is outside of the axis. */
function wrapped(index: number, dim: number, node: Node): number {
  const own = index < 0 ? index + dim : index;
  if (!Number.isInteger(own) || own < 0 || own >= dim) {
    throw new ShapeError(describe(node), {
      expected: `indices from ${-dim} to ${dim - 1}`,
      actual: String(index),
    });
  }
  return own;
}

/**
 * Gather with known indices in arithmetic sequence (a single index, a range) as a view; `undefined` where strides
 * cannot say it.
 */
function gatherView(node: Node, x: TensorView): TensorView | undefined {
  const indices = operand(node, 1);
  if (indices.origin.kind !== 'constant' || indices.origin.data.length === 0) return undefined;
  const axis = axisOf(node, 0);
  const rows = Array.from(indices.origin.data, (index) => wrapped(index, x.shape[axis]!, node));
  const step = rows.length > 1 ? rows[1]! - rows[0]! : 1;
  if (rows.some((row, k) => row !== rows[0]! + k * step)) return undefined;
  const stride = x.strides[axis]! * step;
  return {
    ...x,
    shape: x.shape.toSpliced(axis, 1, ...indices.shape),
    strides: x.strides.toSpliced(axis, 1, ...stridesOf(indices.shape).map((s) => s * stride)),
    offset: x.offset + rows[0]! * x.strides[axis]!,
  };
}

/** How a table is read: `x_Index`, `x_RANK`, `x_shape()` and `table_at(at)`. */
interface TableReads {
  name: string;
  inputs: Record<string, TensorView>;
  functions: string;
}

/** A table as it is, or from the integers that it stands for; in parts where no binding holds it. */
function tableOf(lowering: Lowering, x: TensorView): TableReads {
  const parts = isDense(x) ? lowering.parts(x, 1) : [x];
  if (parts.length === 1) return partOf(lowering, x, '');
  const reads = parts.map((part, i) => partOf(lowering, part, String(i)));
  let first = 0;
  const choices = parts.map((part, i) => {
    const from = first;
    first += part.shape[0]!;
    return `if (at[0] < ${first}u) { var own = at; own[0] = at[0] - ${from}u; return table${i}_at(own); }`;
  });
  return {
    name: `${reads[0]!.name}_parts`,
    inputs: Object.assign({}, ...reads.map(({ inputs }) => inputs)) as Record<string, TensorView>,
    functions: `alias x_Index = x0_Index;
const x_RANK = x0_RANK;
fn x_shape() -> x_Index { var shape = x0_shape(); shape[0] = ${x.shape[0]}u; return shape; }
${reads.map(({ functions }) => functions).join('\n')}
fn table_at(at: x_Index) -> Scalar {
  ${choices.join('\n  ')}
  return Scalar();
}`,
  };
}

function partOf(lowering: Lowering, x: TensorView, suffix: string): TableReads {
  const stored = lowering.quantized(x);
  const isWhole = stored && isDense(x) && equalShapes(x.shape, stored.x.shape);
  if (isWhole) lowering.keepsIntegers(x, describeQuantized(stored), [stored.x]);
  const from = isWhole ? stored : stored ? undefined : quantizeTable(lowering, x);
  if (from) return { name: from.x.storage, ...dequantizedReads(from, `table${suffix}_at`, suffix) };
  const halved = lowering.weights !== 'as-stored' && x.storage === 'f32' && lowering.phase(x) === 'load';
  const table = halved ? lowering.materialize(x, { storage: 'f16' }) : x;
  return {
    name: table.storage,
    inputs: { [`x${suffix}`]: table },
    functions: `fn table${suffix}_at(at: x${suffix}_Index) -> Scalar { return Scalar(x${suffix}_at(at)); }`,
  };
}

const gather: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    return [{ dtype, shape: shape.toSpliced(axisOf(node, 0), 1, ...operand(node, 1).shape) }];
  },
  fold(node, [x, indices]) {
    const view = gatherView(node, rowMajorView(x!));
    if (view) return [readView(x!.data, view)];
    const axis = axisOf(node, 0);
    const inner = sizeOf(x!.shape.slice(axis + 1));
    const dim = x!.shape[axis]!;
    const data = new Float64Array(sizeOf(node.outputs[0]!.shape));
    const rows = Array.from(indices!.data, (index) => wrapped(index, dim, node));
    const outer = sizeOf(x!.shape.slice(0, axis));
    for (let o = 0; o < outer; o++) {
      rows.forEach((row, k) => {
        const from = (o * dim + row) * inner;
        data.set(x!.data.subarray(from, from + inner), (o * rows.length + k) * inner);
      });
    }
    return [data];
  },
  lower(node, lowering) {
    const [result] = node.outputs;
    const x = lowering.view(operand(node, 0));
    const view = gatherView(node, x);
    if (view) {
      lowering.alias(result!, view);
      return;
    }
    const output = lowering.allocate(result!);
    const indices = lowering.view(operand(node, 1));
    const table = tableOf(lowering, x);
    lowering.dispatch(
      indexedKernel({
        name: `gather_${table.name}_${output.storage}`,
        output,
        inputs: { ...table.inputs, indices },
        constants: { AXIS: axisOf(node, 0), DEPTH: indices.shape.length },
        body: `${table.functions}\n${gatherSource}`,
        // Tables are read in part; the rest of a vocabulary costs nothing.
        work: { bytes: 8 * sizeOf(output.shape) },
      }),
    );
  },
};

const gatherElements: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 0).dtype, shape: operand(node, 1).shape }],
  fold(node, [x, indices]) {
    const axis = axisOf(node, 0);
    const strides = stridesOf(x!.shape);
    const data = new Float64Array(indices!.data.length);
    forEachIndex(indices!.shape, (at, i) => {
      const row = wrapped(indices!.data[i]!, x!.shape[axis]!, node);
      data[i] = x!.data[at.reduce((sum, c, a) => sum + (a === axis ? row : c) * strides[a]!, 0)]!;
    });
    return [data];
  },
  lower(node, lowering) {
    const output = lowering.allocate(node.outputs[0]!);
    lowering.dispatch(
      indexedKernel({
        name: `gather_elements_${output.storage}`,
        output,
        inputs: { x: lowering.view(operand(node, 0)), indices: lowering.view(operand(node, 1)) },
        constants: { AXIS: axisOf(node, 0) },
        body: gatherElementsSource,
      }),
    );
  },
};

/** Leading axes that data and indices share, and coordinates in each row of indices. */
function gatherNdSizes(node: Node): { batchDims: number; depth: number } {
  const batchDims = intAttribute(node, 'batch_dims', 0);
  const [x, indices] = [operand(node, 0), operand(node, 1)];
  const depth = indices.shape.at(-1);
  if (depth === undefined || batchDims >= indices.shape.length || batchDims + depth > x.shape.length) {
    throw new ShapeError(describe(node), {
      expected: `indices that fit ${formatShape(x.shape)}`,
      actual: formatShape(indices.shape),
    });
  }
  return { batchDims, depth };
}

const gatherNd: OpDefinition = {
  infer(node) {
    const { batchDims, depth } = gatherNdSizes(node);
    const { dtype, shape } = operand(node, 0);
    return [{ dtype, shape: [...operand(node, 1).shape.slice(0, -1), ...shape.slice(batchDims + depth)] }];
  },
  fold(node, [x, indices]) {
    const { batchDims, depth } = gatherNdSizes(node);
    const strides = stridesOf(x!.shape);
    const slice = sizeOf(x!.shape.slice(batchDims + depth));
    const data = new Float64Array(sizeOf(node.outputs[0]!.shape));
    forEachIndex(indices!.shape.slice(0, -1), (at, row) => {
      let from = at.slice(0, batchDims).reduce((sum, c, a) => sum + c * strides[a]!, 0);
      for (let k = 0; k < depth; k++) {
        const a = batchDims + k;
        from += wrapped(indices!.data[row * depth + k]!, x!.shape[a]!, node) * strides[a]!;
      }
      data.set(x!.data.subarray(from, from + slice), row * slice);
    });
    return [data];
  },
  lower(node, lowering) {
    const { batchDims, depth } = gatherNdSizes(node);
    const output = lowering.allocate(node.outputs[0]!);
    lowering.dispatch(
      indexedKernel({
        name: `gather_nd_${output.storage}`,
        output,
        inputs: { x: lowering.view(operand(node, 0)), indices: lowering.view(operand(node, 1)) },
        constants: { BATCH_DIMS: batchDims, DEPTH: depth },
        body: gatherNdSource,
      }),
    );
  },
};

/** Positions of what is not zero in a tensor that must be known on the CPU: the result's shape depends on it. */
function nonZeroPositions(node: Node): number[][] {
  const { data, shape } = constantOperand(node, 0);
  const rows: number[][] = [];
  forEachIndex(shape, (at, i) => {
    if (data[i] !== 0) rows.push([...at]);
  });
  return rows;
}

const nonZero: OpDefinition = {
  infer: (node) => [
    { dtype: 'int64', shape: [operand(node, 0).shape.length, nonZeroPositions(node).length] },
  ],
  fold(node) {
    const rows = nonZeroPositions(node);
    return [Float64Array.from(operand(node, 0).shape.flatMap((_, axis) => rows.map((row) => row[axis]!)))];
  },
};

/** Operators that pick elements by index; `picking.ts` has the rarer ones. */
export const gatherOps: OpTable = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherNd,
  NonZero: nonZero,
};
