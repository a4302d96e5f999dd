import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import { argReduce } from '../kernels/arg-reduce/arg-reduce.ts';
import { scan, type ScanOptions } from '../kernels/scan/scan.ts';
import { topK } from '../kernels/top-k/top-k.ts';
import type { TensorView } from '../plan/plan.ts';
import { rowMajor } from '../plan/view.ts';
import { normalizeAxis } from '../tensor/shape.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, intAttribute, operand, scalarOperand } from './operands.ts';
import { reducedShape } from './reduce.ts';
import { kernelResult, type ResultOptions } from './kernel-result.ts';

/** A row-major result stored element by element. */
const singly = (x: TensorView): ResultOptions => ({
  order: rowMajor(x.shape.length),
  vector: false,
  bindings: 3,
});

/** The attribute `axis` within the rank of operand 0. */
function axisAttribute(node: Node, missing: number): number {
  return normalizeAxis(intAttribute(node, 'axis', missing), operand(node, 0).shape.length, describe(node));
}

/** The index of the largest or smallest element along an axis; of equal ones the first, or the last if asked for. */
function argReduction(largest: boolean): OpDefinition {
  return {
    infer(node) {
      const { shape } = operand(node, 0);
      const axis = axisAttribute(node, 0);
      if (shape[axis] === 0) {
        throw new ShapeError(describe(node), { expected: 'elements along the axis', actual: 'none' });
      }
      return [
        { dtype: 'int64', shape: reducedShape(shape, [axis], intAttribute(node, 'keepdims', 1) !== 0) },
      ];
    },
    lower(node, lowering) {
      argReduce(lowering, lowering.view(operand(node, 0)), lowering.allocate(node.outputs[0]!), {
        axis: axisAttribute(node, 0),
        largest,
        last: intAttribute(node, 'select_last_index', 0) !== 0,
      });
    },
  };
}

function scanOptions(node: Node, kind: ScanOptions['kind']): ScanOptions {
  return {
    axis: normalizeAxis(scalarOperand(node, 1), operand(node, 0).shape.length, describe(node)),
    kind,
    exclusive: intAttribute(node, 'exclusive', 0) !== 0,
    reverse: intAttribute(node, 'reverse', 0) !== 0,
  };
}

/** Running sums or products along an axis, which is operand 1. */
function scanning(kind: ScanOptions['kind']): OpDefinition {
  return {
    infer(node) {
      scanOptions(node, kind);
      const { dtype, shape } = operand(node, 0);
      return [{ dtype, shape }];
    },
    fold(node, [x]) {
      const { axis, exclusive, reverse } = scanOptions(node, kind);
      const length = x!.shape[axis] ?? 1;
      const stride = x!.shape.slice(axis + 1).reduce((product, dim) => product * dim, 1);
      const result = new Float64Array(x!.data.length);
      for (let start = 0; start < result.length; start++) {
        if (Math.floor(start / stride) % length !== 0) continue;
        let sum = kind === 'sum' ? 0 : 1;
        for (let position = 0; position < length; position++) {
          const i = start + stride * (reverse ? length - 1 - position : position);
          const next = kind === 'sum' ? sum + x!.data[i]! : sum * x!.data[i]!;
          result[i] = exclusive ? sum : next;
          sum = next;
        }
      }
      return [result];
    },
    lower(node, lowering) {
      const x = lowering.view(operand(node, 0));
      const options = scanOptions(node, kind);
      kernelResult(node, lowering, singly(x), (y) => scan(lowering, x, y, options));
    },
  };
}

/** Longest axis that is ranked in one dispatch: the work is quadratic, and a dispatch must end within a second or two. */
const LONGEST_TOP_K = 65_536;

/** Values and indices of the k first elements along an axis in sorted order. */
const topKOp: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    const axis = axisAttribute(node, -1);
    const k = scalarOperand(node, 1);
    if (k < 0 || k > (shape[axis] ?? 1)) {
      throw new ShapeError(describe(node), {
        expected: `k from 0 to ${shape[axis] ?? 1}`,
        actual: String(k),
      });
    }
    const result = shape.map((dim, other) => (other === axis ? k : dim));
    return [
      { dtype, shape: result },
      { dtype: 'int64', shape: result },
    ];
  },
  refuse: (node) =>
    (operand(node, 0).shape[axisAttribute(node, -1)] ?? 1) > LONGEST_TOP_K
      ? `its axis is longer than ${LONGEST_TOP_K}`
      : undefined,
  lower(node, lowering) {
    const x = lowering.view(operand(node, 0));
    const [values, indices] = node.outputs;
    const places = indices ? lowering.allocate(indices) : lowering.scratch('indices', values!.shape, 'i32');
    const options = { axis: axisAttribute(node, -1), largest: intAttribute(node, 'largest', 1) !== 0 };
    kernelResult(node, lowering, singly(x), (y) =>
      topK(lowering, { x, ...options, values: y, indices: places }),
    );
  },
};

export const selectionOps: OpTable = {
  ArgMax: argReduction(true),
  ArgMin: argReduction(false),
  CumSum: scanning('sum'),
  CumProd: scanning('product'),
  TopK: topKOp,
};
