import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import { formatShape } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, hasOperand, intAttribute, operand } from './operands.ts';

/** Heads, their size, and how much of it turns. */
function sizesOf(node: Node): { heads: number; size: number; turning: number } {
  const { shape } = operand(node, 0);
  const heads = shape.length === 4 ? shape[1]! : intAttribute(node, 'num_heads', 0);
  const size = shape.length === 4 ? shape[3]! : shape[2]! / heads;
  const turning = intAttribute(node, 'rotary_embedding_dim', 0) || size;
  if (
    (shape.length !== 3 && shape.length !== 4) ||
    !Number.isInteger(size) ||
    turning > size ||
    turning % 2 !== 0
  ) {
    throw new ShapeError(describe(node), {
      expected: '[batch, heads, length, size], or [batch, length, heads · size] and num_heads',
      actual: formatShape(shape),
    });
  }
  return { heads, size, turning };
}

/**
 * Turns pairs of elements of each head by an angle that depends on the position (RoPE, arXiv:2104.09864). Cosines and
 * sines come by position [B, S, R / 2], or as tables [P, R / 2] with positions to look up.
 */
const rotaryEmbedding: OpDefinition = {
  infer(node) {
    sizesOf(node);
    return [{ dtype: operand(node, 0).dtype, shape: operand(node, 0).shape }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const { heads, size, turning } = sizesOf(node);
    const byHead = x.shape.length === 4;
    const [batch, length] = [x.shape[0]!, byHead ? x.shape[2]! : x.shape[1]!];
    const rows = byHead ? c.transpose(x, [0, 2, 1, 3]) : c.reshape(x, [batch, length, heads, size]);
    const [turned, rest] = c.split(rows, 3, [turning, size - turning]);
    const [cos, sin] = [1, 2].map((index) => {
      const table = operand(node, index);
      const angles = hasOperand(node, 3) ? c.op('Gather', [table, operand(node, 3)]) : table;
      return c.reshape(c.slice(angles, 2, 0, turning / 2), [batch, length, 1, turning / 2]);
    });
    const interleaved = intAttribute(node, 'interleaved', 0) !== 0;
    const pairs = interleaved ? c.reshape(turned!, [batch, length, heads, turning / 2, 2]) : turned!;
    const half = (index: number): typeof x => {
      if (!interleaved) return c.slice(pairs, 3, (index * turning) / 2, ((index + 1) * turning) / 2);
      return c.reshape(c.slice(pairs, 4, index, index + 1), [batch, length, heads, turning / 2]);
    };
    const [a, b] = [half(0), half(1)];
    const real = c.sub(c.mul(cos!, a), c.mul(sin!, b));
    const imaginary = c.add(c.mul(sin!, a), c.mul(cos!, b));
    const column = [batch, length, heads, turning / 2, 1];
    const joined = interleaved
      ? c.reshape(c.concat([c.reshape(real, column), c.reshape(imaginary, column)], 4), turned!.shape)
      : c.concat([real, imaginary], 3);
    const all = turning === size ? joined : c.concat([joined, rest!], 3);
    return [byHead ? c.transpose(all, [0, 2, 1, 3]) : c.reshape(all, x.shape)];
  },
};

/** RotaryEmbedding of ONNX's own domain (opset 23). */
export const rotaryOps: OpTable = { RotaryEmbedding: rotaryEmbedding };
