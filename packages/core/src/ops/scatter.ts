import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import { indexedKernel } from '../kernels/movement/indexed.ts';
import combineSource from '../kernels/scatter/combine.wgsl';
import scatterElementsSource from '../kernels/scatter/scatter-elements.wgsl';
import scatterNdRowsSource from '../kernels/scatter/scatter-nd-rows.wgsl';
import scatterNdSearchSource from '../kernels/scatter/scatter-nd-search.wgsl';
import scatterNdSource from '../kernels/scatter/scatter-nd.wgsl';
import tensorScatterSource from '../kernels/scatter/tensor-scatter.wgsl';
import type { Lowering } from '../plan/lowering.ts';
import type { TensorView } from '../plan/plan.ts';
import { reshapeView } from '../plan/view.ts';
import { equalShapes, formatShape, normalizeAxis, sizeOf, stridesOf, type Shape } from '../tensor/shape.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, hasOperand, intAttribute, operand, stringAttribute } from './operands.ts';
import { forEachIndex } from './views.ts';

const reductions = ['none', 'add', 'mul', 'max', 'min'] as const;
const combine: Record<(typeof reductions)[number], (a: number, b: number) => number> = {
  none: (_, b) => b,
  add: (a, b) => a + b,
  mul: (a, b) => a * b,
  max: Math.max,
  min: Math.min,
};

function reductionOf(node: Node): (typeof reductions)[number] {
  const given = stringAttribute(node, 'reduction', 'none');
  const known = reductions.find((name) => name === given);
  if (known) return known;
  throw new ShapeError(describe(node), {
    expected: `reduction to be one of ${reductions.join(', ')}`,
    actual: given,
  });
}

function checkShape(node: Node, index: number, expected: Shape): void {
  const { shape } = operand(node, index);
  if (equalShapes(shape, expected)) return;
  throw new ShapeError(describe(node), {
    expected: `operand ${index} to be ${formatShape(expected)}`,
    actual: formatShape(shape),
  });
}

const wrap = (index: number, dim: number): number => (index < 0 ? index + dim : index);

const scatterElements: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    normalizeAxis(intAttribute(node, 'axis', 0), shape.length, describe(node));
    checkShape(node, 2, operand(node, 1).shape);
    return [{ dtype, shape }];
  },
  fold(node, [x, indices, updates]) {
    const axis = normalizeAxis(intAttribute(node, 'axis', 0), x!.shape.length, describe(node));
    const strides = stridesOf(x!.shape);
    const data = x!.data.slice();
    const apply = combine[reductionOf(node)];
    forEachIndex(indices!.shape, (at, i) => {
      const row = wrap(indices!.data[i]!, x!.shape[axis]!);
      const to = at.reduce((sum, c, a) => sum + (a === axis ? row : c) * strides[a]!, 0);
      data[to] = apply(data[to]!, updates!.data[i]!);
    });
    return [data];
  },
  lower(node, lowering) {
    const x = lowering.view(operand(node, 0));
    const output = lowering.allocate(node.outputs[0]!);
    lowering.dispatch(
      indexedKernel({
        name: `scatter_elements_${output.storage}`,
        output,
        inputs: { x, indices: lowering.view(operand(node, 1)), updates: lowering.view(operand(node, 2)) },
        constants: {
          AXIS: normalizeAxis(intAttribute(node, 'axis', 0), x.shape.length, describe(node)),
          REDUCTION: reductions.indexOf(reductionOf(node)),
        },
        body: `${combineSource}\n${scatterElementsSource}`,
      }),
    );
  },
};

/** Rows of updates, coordinates that name where each goes, and the shape of the slices. */
function scatterNdSizes(node: Node): { rows: number; depth: number; slice: Shape } {
  const { shape } = operand(node, 0);
  const indices = operand(node, 1).shape;
  const depth = indices.at(-1);
  if (depth === undefined || depth > shape.length) {
    throw new ShapeError(describe(node), {
      expected: `indices that fit ${formatShape(shape)}`,
      actual: formatShape(indices),
    });
  }
  return { rows: sizeOf(indices.slice(0, -1)), depth, slice: shape.slice(depth) };
}

/** Which row of updates hits each slice, -1 for none; `undefined` where several rows do. */
function rowsBySlice(node: Node, indices: Float64Array): Int32Array<ArrayBuffer> | undefined {
  const { rows, depth } = scatterNdSizes(node);
  const dims = operand(node, 0).shape.slice(0, depth);
  const strides = stridesOf(dims);
  const map = new Int32Array(sizeOf(dims)).fill(-1);
  for (let row = 0; row < rows; row++) {
    const slice = dims.reduce((sum, dim, k) => sum + wrap(indices[row * depth + k]!, dim) * strides[k]!, 0);
    if (map[slice] !== -1) return undefined;
    map[slice] = row;
  }
  return map;
}

const scatterNd: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    checkShape(node, 2, [...operand(node, 1).shape.slice(0, -1), ...scatterNdSizes(node).slice]);
    return [{ dtype, shape }];
  },
  fold(node, [x, indices, updates]) {
    const { rows, depth, slice } = scatterNdSizes(node);
    const strides = stridesOf(x!.shape);
    const size = sizeOf(slice);
    const data = x!.data.slice();
    const apply = combine[reductionOf(node)];
    for (let row = 0; row < rows; row++) {
      let to = 0;
      for (let k = 0; k < depth; k++) to += wrap(indices!.data[row * depth + k]!, x!.shape[k]!) * strides[k]!;
      for (let i = 0; i < size; i++) data[to + i] = apply(data[to + i]!, updates!.data[row * size + i]!);
    }
    return [data];
  },
  lower(node, lowering) {
    const { rows, depth, slice } = scatterNdSizes(node);
    const indices = operand(node, 1);
    const output = lowering.allocate(node.outputs[0]!);
    const { origin } = indices;
    const map = origin.kind === 'constant' ? rowsBySlice(node, origin.data) : undefined;
    const where: Record<string, TensorView> = map
      ? { rows: lowering.constant(map, operand(node, 0).shape.slice(0, depth)) }
      : { indices: asShape(lowering, lowering.view(indices), [rows, depth]) };
    lowering.dispatch(
      indexedKernel({
        name: `scatter_nd_${map ? 'rows' : 'search'}_${output.storage}`,
        output,
        inputs: {
          x: lowering.view(operand(node, 0)),
          ...where,
          updates: asShape(lowering, lowering.view(operand(node, 2)), [rows, ...slice]),
        },
        constants: { DEPTH: depth, REDUCTION: reductions.indexOf(reductionOf(node)) },
        body: [combineSource, map ? scatterNdRowsSource : scatterNdSearchSource, scatterNdSource].join('\n'),
      }),
    );
  },
};

/** The view in another shape, copied where strides cannot say it. */
function asShape(lowering: Lowering, view: TensorView, shape: Shape): TensorView {
  const order = view.shape.map((_, axis) => axis);
  return reshapeView(view, shape) ?? reshapeView(lowering.materialize(view, { order }), shape)!;
}

const tensorScatter: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 0).dtype, shape: operand(node, 0).shape }],
  lower(node, lowering) {
    const x = lowering.view(operand(node, 0));
    const output = lowering.allocate(node.outputs[0]!);
    const starts = hasOperand(node, 2) ? lowering.view(operand(node, 2)) : undefined;
    const start = starts ? 'i32(starts_at(starts_Index(batch)))' : '0';
    lowering.dispatch(
      indexedKernel({
        name: `tensor_scatter_${output.storage}`,
        output,
        inputs: { x, updates: lowering.view(operand(node, 1)), ...(starts && { starts }) },
        constants: {
          AXIS: normalizeAxis(intAttribute(node, 'axis', -2), x.shape.length, describe(node)),
          CIRCULAR: stringAttribute(node, 'mode', 'linear') === 'circular',
        },
        body: `fn start(batch: u32) -> i32 { return ${start}; }\n${tensorScatterSource}`,
      }),
    );
  },
};

/** Operators that write elements by index. */
export const scatterOps: OpTable = {
  /** The name before opset 11. */
  Scatter: scatterElements,
  ScatterElements: scatterElements,
  ScatterND: scatterNd,
  TensorScatter: tensorScatter,
};
