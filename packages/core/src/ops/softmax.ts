import type { Node, Value } from '../graph/graph.ts';
import { contiguousRows, hasVectorRows, type Rows } from '../kernels/rows.ts';
import { softmax } from '../kernels/softmax/softmax.ts';
import type { Lowering } from '../plan/lowering.ts';
import { rowMajor } from '../plan/view.ts';
import { normalizeAxis, sizeOf } from '../tensor/shape.ts';
import type { Build, OpDefinition, OpTable } from './op.ts';
import { describe, intAttribute, operand } from './operands.ts';
import { kernelResult } from './kernel-result.ts';

/** Before opset 13 everything from `axis` on is one row, from then on only `axis` itself. */
function rowAxes(node: Node): number[] {
  const rank = operand(node, 0).shape.length;
  const axis = normalizeAxis(intAttribute(node, 'axis', node.opset < 13 ? 1 : -1), rank, describe(node));
  return node.opset < 13 ? rowMajor(rank).slice(axis) : rank === 0 ? [] : [axis];
}

/** The operand as rows over `inner`; copied so that they are contiguous if they are not. */
export function takeRows(value: Value, lowering: Lowering, inner: readonly number[]): Rows {
  const rank = value.shape.length;
  const order = [...rowMajor(rank).filter((axis) => !inner.includes(axis)), ...inner];
  return contiguousRows(lowering.view(value), inner) ?? contiguousRows(lowering.dense(value, order), inner)!;
}

function rowSoftmax(logarithm: boolean): OpDefinition {
  return {
    acceptsEpilogue: true,
    infer(node) {
      rowAxes(node);
      const { dtype, shape } = operand(node, 0);
      return [{ dtype, shape }];
    },
    lower(node, lowering) {
      const x = takeRows(operand(node, 0), lowering, rowAxes(node));
      const order = [...x.outer, ...x.inner];
      const options = { order, vector: hasVectorRows(x), bindings: 2 };
      kernelResult(node, lowering, options, (y, epilogue) =>
        softmax(lowering, { x, y, logarithm, epilogue }),
      );
    },
  };
}

/** 1 at the first of the largest elements of each row, 0 elsewhere. */
const hardmax: OpDefinition = {
  infer(node) {
    rowAxes(node);
    const { dtype, shape } = operand(node, 0);
    return [{ dtype, shape }];
  },
  expand(node, build) {
    const x = operand(node, 0);
    const axes = rowAxes(node);
    if (axes.length === 0) return [oneHot(x, 0, build)];
    if (axes.length === 1) return [oneHot(x, axes[0]!, build)];
    const columns = sizeOf(axes.map((axis) => x.shape[axis]!));
    const ints = (data: readonly number[]): Value => build.constant(data, [data.length], 'int64');
    const [flat] = build.node('Reshape', [x, ints([sizeOf(x.shape) / Math.max(columns, 1), columns])]);
    return build.node('Reshape', [oneHot(flat!, 1, build), ints(x.shape)]);
  },
};

function oneHot(x: Value, axis: number, build: Build): Value {
  const [top] = build.node('ArgMax', [x], { axis, keepdims: 1 });
  const dim = x.shape[axis] ?? 1;
  const shape = x.shape.map((size, k) => (k === axis ? size : 1));
  const positions = build.constant([...Array(dim).keys()], shape, 'int64');
  const [hit] = build.node('Equal', [positions, top]);
  return build.node('CastLike', [hit, x])[0]!;
}

export const softmaxOps: OpTable = {
  Softmax: rowSoftmax(false),
  LogSoftmax: rowSoftmax(true),
  Hardmax: hardmax,
};
