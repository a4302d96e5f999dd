import { ShapeError } from '../errors.ts';
import type { Node, Value } from '../graph/graph.ts';
import { formatShape, type Shape } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, floatAttribute, hasOperand, intAttribute, operand, stringAttribute } from './operands.ts';

/** Sizes of LinearAttention: x is [B, T, heads · size]. */
function linearSizes(node: Node): {
  batch: number;
  steps: number;
  /** Heads of keys and values, and how many heads of queries share one. */
  heads: number;
  share: number;
  keySize: number;
  valueSize: number;
} {
  const [queryHeads, heads] = [intAttribute(node, 'q_num_heads', 0), intAttribute(node, 'kv_num_heads', 0)];
  const [q, k, v] = [0, 1, 2].map((index) => operand(node, index).shape) as [Shape, Shape, Shape];
  const [batch, steps, width] = q as [number, number, number];
  const share = queryHeads / heads;
  if (q.length !== 3 || !Number.isInteger(share) || width / queryHeads !== k[2]! / heads) {
    throw new ShapeError(describe(node), {
      expected: `queries of ${queryHeads} heads and keys of ${heads}`,
      actual: `${formatShape(q)} and ${formatShape(k)}`,
    });
  }
  return { batch, steps, heads, share, keySize: width / queryHeads, valueSize: v[2]! / heads };
}

const rules: Readonly<Record<string, { decays: boolean; corrects: boolean }>> = {
  linear: { decays: false, corrects: false },
  gated: { decays: true, corrects: false },
  delta: { decays: false, corrects: true },
  gated_delta: { decays: true, corrects: true },
};

/**
 * Attention with a state [B, H, D, E] instead of a softmax: at each step the state fades by `exp(decay)`, takes in the
 * outer product of key and value (or of what the value adds to what the state already says of the key, times `beta`),
 * and is read by the query. Written out step by step.
 */
const linearAttention: OpDefinition = {
  infer(node) {
    const { batch, steps, heads, share, keySize, valueSize } = linearSizes(node);
    const { dtype } = operand(node, 0);
    return [
      { dtype, shape: [batch, steps, heads * share * valueSize] },
      { dtype: node.inputs[3]?.dtype ?? dtype, shape: [batch, heads, keySize, valueSize] },
    ];
  },
  expand(node, build) {
    const c = new Compose(build);
    const { batch, steps, heads, share, keySize, valueSize } = linearSizes(node);
    const { dtype } = operand(node, 0);
    const rule = rules[stringAttribute(node, 'update_rule', 'gated_delta')];
    if (!rule) throw new ShapeError(describe(node), { expected: 'a known update_rule', actual: 'another' });
    /** Operand `index` at one step, as [B, H, rows, -1]. */
    const at = (index: number, step: number, shape: readonly number[]): Value =>
      c.reshape(c.slice(operand(node, index), 1, step, step + 1), [batch, ...shape]);
    const scale = c.scalar(floatAttribute(node, 'scale', 0) || 1 / Math.sqrt(keySize), dtype);
    let state = hasOperand(node, 3)
      ? c.cast(operand(node, 3), dtype)
      : c.op('Expand', [c.scalar(0, dtype), c.ints([batch, heads, keySize, valueSize])]);
    const outputs: Value[] = [];
    for (let step = 0; step < steps; step++) {
      const q = at(0, step, [heads, share, keySize]);
      const key = at(1, step, [heads, 1, keySize]);
      let value = at(2, step, [heads, 1, valueSize]);
      if (rule.decays) {
        const width = operand(node, 4).shape[2]! / heads;
        state = c.mul(state, c.op('Exp', [at(4, step, [heads, width, 1])]));
      }
      if (rule.corrects) {
        const beta = at(5, step, [operand(node, 5).shape[2]!, 1, 1]);
        value = c.mul(beta, c.sub(value, c.op('MatMul', [key, state])));
      }
      state = c.add(state, c.op('MatMul', [c.transpose(key, [0, 1, 3, 2]), value]));
      const read = c.mul(scale, c.op('MatMul', [q, state]));
      outputs.push(c.reshape(read, [batch, 1, heads * share * valueSize]));
    }
    return [c.concat(outputs, 1), c.cast(state, node.inputs[3]?.dtype ?? dtype)];
  },
};

/** A convolution of each channel over time that sees no future, and the last inputs for the call that goes on. */
const causalConvWithState: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    const kept = operand(node, 1).shape[2]! - 1;
    return [
      { dtype, shape },
      { dtype, shape: [...shape.slice(0, 2), kept] },
    ];
  },
  expand(node, build) {
    const c = new Compose(build);
    const [x, weight, bias, past] = node.inputs as [Value, Value, Value?, Value?];
    const kept = weight.shape[2]! - 1;
    const padded = past ? c.concat([past, x], 2) : c.op('Pad', [x, c.ints([0, 0, kept, 0, 0, 0])]);
    const y = c.op('Conv', [padded, weight, bias], { group: x.shape[1]! });
    const activation = stringAttribute(node, 'activation', 'none');
    if (!['none', 'silu', 'swish', ''].includes(activation)) {
      throw new ShapeError(describe(node), { expected: 'no activation or silu', actual: activation });
    }
    const active = activation === 'silu' || activation === 'swish' ? c.mul(y, c.op('Sigmoid', [y])) : y;
    const length = padded.shape[2]!;
    return [active, c.slice(padded, 2, length - kept, length)];
  },
};

/** Operators of opset 27 that go through a sequence step by step. */
export const recurrentOps: OpTable = {
  CausalConvWithState: causalConvWithState,
  LinearAttention: linearAttention,
};
