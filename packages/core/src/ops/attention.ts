import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import { attention } from '../kernels/attention/attention.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { TensorView } from '../plan/plan.ts';
import { isFloat } from '../tensor/dtype.ts';
import { broadcastShapes, equalShapes, formatShape } from '../tensor/shape.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, floatAttribute, hasOperand, intAttribute, operand } from './operands.ts';

/** Largest head that the kernels hold. */
const MAX_HEAD_SIZE = 512;

/**
 * `Attention(q [B,H,S,D], k [B,K,T,D], v [B,K,T,E], mask?) -> [B,H,S,E]`: `softmax(scale · q kᵀ + mask) v`, K dividing H.
 * The mask broadcasts to [B,H,S,T]; floats are added, of bool zero excludes. Attributes: `scale` (1/√D by default) and
 * `causal` (query s sees keys up to s). Rows whose keys are all excluded give zeros.
 */
const attentionOp: OpDefinition = {
  infer(node) {
    const { q, v } = checked(node);
    return [{ dtype: operand(node, 0).dtype, shape: [q[0]!, q[1]!, q[2]!, v[3]!] }];
  },
  refuse(node) {
    const { q, v } = checked(node);
    if (!isFloat(operand(node, 0).dtype)) return `attends over ${operand(node, 0).dtype}`;
    return Math.max(q[3]!, v[3]!) > MAX_HEAD_SIZE ? `heads larger than ${MAX_HEAD_SIZE}` : undefined;
  },
  lower(node, lowering) {
    const { q, k, v } = checked(node);
    attention(lowering, {
      batch: q[0]!,
      heads: q[1]!,
      keyHeads: k[1]!,
      queries: q[2]!,
      keys: k[2]!,
      headSize: q[3]!,
      valueSize: v[3]!,
      scale: floatAttribute(node, 'scale', 1 / Math.sqrt(q[3]!)),
      causal: intAttribute(node, 'causal', 0) !== 0,
      q: contiguous(lowering, lowering.view(operand(node, 0))),
      k: contiguous(lowering, lowering.view(operand(node, 1))),
      v: contiguous(lowering, lowering.view(operand(node, 2))),
      mask: hasOperand(node, 3) ? lowering.view(operand(node, 3)) : undefined,
      output: lowering.allocate(node.outputs[0]!, { order: [0, 2, 1, 3] }),
      epilogue: lowering.epilogue(node),
    });
  },
};

function contiguous(lowering: Lowering, view: TensorView): TensorView {
  if (view.strides[3] === 1 || view.shape[3] === 1) return view;
  return lowering.materialize(view, { order: [0, 1, 2, 3] });
}

function checked(node: Node): { q: readonly number[]; k: readonly number[]; v: readonly number[] } {
  const [q, k, v] = [operand(node, 0).shape, operand(node, 1).shape, operand(node, 2).shape];
  const fits =
    [q, k, v].every((shape) => shape.length === 4) &&
    q[0] === k[0] &&
    q[3] === k[3] &&
    equalShapes(k.slice(0, 3), v.slice(0, 3)) &&
    Number.isInteger(q[1]! / k[1]!);
  if (!fits) {
    throw new ShapeError(describe(node), {
      expected: 'q [B,H,S,D], k [B,K,T,D] and v [B,K,T,E]',
      actual: [q, k, v].map(formatShape).join(', '),
    });
  }
  if (hasOperand(node, 3)) {
    const scores = [q[0]!, q[1]!, q[2]!, k[2]!];
    const mask = operand(node, 3).shape;
    if (!equalShapes(broadcastShapes([mask, scores], describe(node)), scores)) {
      throw new ShapeError(describe(node), {
        expected: `a mask that broadcasts to ${formatShape(scores)}`,
        actual: formatShape(mask),
      });
    }
  }
  return { q, k, v };
}

export const ownAttentionOps: OpTable = { Attention: attentionOp };
