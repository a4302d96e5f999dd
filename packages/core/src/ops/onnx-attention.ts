import { ShapeError } from '../errors.ts';
import { OWN_DOMAIN, type Node, type Value } from '../graph/graph.ts';
import { broadcastShapes, equalShapes, formatShape, type Shape } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable, TensorType } from './op.ts';
import { describe, floatAttribute, hasOperand, intAttribute, operand } from './operands.ts';

// https://onnx.ai/onnx/operators/onnx__Attention.html, opset 23 (nonpad_kv_seqlen: 24, windows: 25).

/** Sizes of one attention, B · H queries of S tokens over P old and T - P new ones. */
interface Sizes {
  batch: number;
  heads: number;
  keyHeads: number;
  queries: number;
  past: number;
  /** Keys, the past ones included. */
  keys: number;
  headSize: number;
  valueSize: number;
}

/** [B, H, S, D] of an operand that may be [B, S, H·D]. */
function shapeByHead(node: Node, index: number, attribute: string): Shape {
  const { shape } = operand(node, index);
  if (shape.length === 4) return shape;
  const heads = intAttribute(node, attribute, 0);
  if (shape.length !== 3 || heads < 1 || shape[2]! % heads !== 0) {
    throw new ShapeError(describe(node), {
      expected: `operand ${index} as [B, H, S, D], or as [B, S, H·D] with ${attribute}`,
      actual: formatShape(shape),
    });
  }
  return [shape[0]!, heads, shape[1]!, shape[2]! / heads];
}

function sizesOf(node: Node): Sizes {
  const q = shapeByHead(node, 0, 'q_num_heads');
  const [k, v] = [shapeByHead(node, 1, 'kv_num_heads'), shapeByHead(node, 2, 'kv_num_heads')];
  const past = node.inputs[4]?.shape[2] ?? 0;
  const divides = (q[1] ?? 0) % (k[1] ?? 0) === 0;
  const fits = q[0] === k[0] && q[3] === k[3] && equalShapes(k.slice(0, 3), v.slice(0, 3)) && divides;
  const pastFits = [4, 5].every((index) => {
    const earlier = node.inputs[index]?.shape;
    const like = index === 4 ? k : v;
    return !earlier || equalShapes(earlier, [like[0]!, like[1]!, past, like[3]!]);
  });
  if (!fits || !pastFits || hasOperand(node, 4) !== hasOperand(node, 5)) {
    throw new ShapeError(describe(node), {
      expected: 'queries, keys, values and what is past of them to fit',
      actual: [0, 1, 2, 4, 5].flatMap((index) => node.inputs[index]?.shape ?? []).join(', '),
    });
  }
  return {
    batch: q[0]!,
    heads: q[1]!,
    keyHeads: k[1]!,
    queries: q[2]!,
    past,
    keys: k[2]! + past,
    headSize: q[3]!,
    valueSize: v[3]!,
  };
}

const attention: OpDefinition = {
  infer(node) {
    const { batch, heads, keyHeads, queries, keys, headSize, valueSize } = sizesOf(node);
    const { dtype, shape } = operand(node, 0);
    const y = shape.length === 3 ? [batch, queries, heads * valueSize] : [batch, heads, queries, valueSize];
    return [
      { dtype, shape: y },
      { dtype: operand(node, 1).dtype, shape: [batch, keyHeads, keys, headSize] },
      { dtype: operand(node, 2).dtype, shape: [batch, keyHeads, keys, valueSize] },
      { dtype, shape: [batch, heads, queries, keys] },
    ] satisfies TensorType[];
  },
  expand(node, build) {
    const c = new Compose(build);
    const sizes = sizesOf(node);
    const [q, k, v] = [0, 1, 2].map((index) => byHead(c, operand(node, index), sizes, index)) as [
      Value,
      Value,
      Value,
    ];
    const keys = node.inputs[4] ? c.concat([node.inputs[4], k], 2) : k;
    const values = node.inputs[5] ? c.concat([node.inputs[5], v], 2) : v;
    const scale = floatAttribute(node, 'scale') ?? 1 / Math.sqrt(sizes.headSize);
    const wantsScores = node.outputs.length > 3;
    const softcap = floatAttribute(node, 'softcap', 0);
    let scores: Value | undefined;
    let y: Value;
    if (wantsScores || softcap !== 0) {
      [y, scores] = spelledOut(c, node, sizes, { q, keys, values, scale, softcap });
    } else {
      const { mask, causal } = maskOf(c, node, sizes, true);
      y = c.op('Attention', [q, keys, values, mask], { scale, causal: causal ? 1 : 0 }, OWN_DOMAIN);
    }
    const flat = operand(node, 0).shape.length === 3;
    const joined = [sizes.batch, sizes.queries, sizes.heads * sizes.valueSize];
    const result = flat ? c.reshape(c.transpose(y, [0, 2, 1, 3]), joined) : y;
    return [result, keys, values, ...(scores ? [scores] : [])];
  },
};

/** An operand as [B, H, S, D]. */
function byHead(c: Compose, x: Value, sizes: Sizes, index: number): Value {
  if (x.shape.length === 4) return x;
  const heads = index === 0 ? sizes.heads : sizes.keyHeads;
  const [batch, length, hidden] = x.shape as [number, number, number];
  return c.transpose(c.reshape(x, [batch, length, heads, hidden / heads]), [0, 2, 1, 3]);
}

/**
 * Everything that hides keys as one operand [B, H, S, T] or what broadcasts to it: bool where all of it says yes or no,
 * else something to add. `causal` is left to the kernel where `mayLeave` and it means the same.
 */
function maskOf(
  c: Compose,
  node: Node,
  sizes: Sizes,
  mayLeave: boolean,
): { mask: Value | undefined; causal: boolean } {
  const { queries, keys, past } = sizes;
  const isCausal = intAttribute(node, 'is_causal', 0) !== 0;
  const visible: Value[] = [];
  let bias: Value | undefined;
  const given = node.inputs[3];
  if (given) {
    const padded = padKeys(c, node, given, sizes);
    if (padded.dtype === 'bool') visible.push(padded);
    else bias = padded;
  }
  const lengths = node.inputs[6];
  const column = lengths && c.reshape(lengths, [sizes.batch, 1, 1, 1]);
  const key = c.build.constant(range(keys), [1, 1, 1, keys], 'int64');
  if (column) visible.push(c.op('Less', [key, column]));
  const left = intAttribute(node, 'left_window_size', -1);
  const right = isCausal ? 0 : intAttribute(node, 'right_window_size', -1);
  const causal = isCausal && left < 0 && past === 0 && !column && mayLeave;
  if (!causal && (left >= 0 || right >= 0)) {
    // Queries are the last tokens of those that count.
    const positions = c.build.constant(range(queries).map((i) => i + past), [1, 1, queries, 1], 'int64'); // prettier-ignore
    const shift = column && c.sub(column, c.build.constant([queries], [], 'int64'));
    const query = shift ? c.add(positions, shift) : positions;
    const offset = (by: number): Value => c.add(query, c.build.constant([by], [], 'int64'));
    if (right >= 0) visible.push(c.op('LessOrEqual', [key, offset(right)]));
    if (left >= 0) visible.push(c.op('GreaterOrEqual', [key, offset(-left)]));
  }
  const shown = visible.length > 0 ? visible.reduce((a, b) => c.op('And', [a, b])) : undefined;
  if (!bias || !shown) return { mask: bias ?? shown, causal };
  return { mask: c.op('Where', [shown, bias, c.scalar(-Infinity, bias.dtype)]), causal };
}

/** A mask for fewer keys than there are hides the rest. */
function padKeys(c: Compose, node: Node, mask: Value, { batch, heads, queries, keys }: Sizes): Value {
  const missing = keys - (mask.shape.at(-1) ?? 1);
  const shape = [...mask.shape.slice(0, -1), missing];
  const fill = mask.dtype === 'bool' ? 0 : -Infinity;
  const rest = (): Value => c.op('Expand', [c.scalar(fill, mask.dtype), c.ints(shape)]);
  const full =
    missing > 0 && mask.shape.at(-1) !== 1 ? c.concat([mask, rest()], mask.shape.length - 1) : mask;
  const scores = [batch, heads, queries, keys];
  if (!equalShapes(broadcastShapes([full.shape, scores], describe(node)), scores)) {
    throw new ShapeError(describe(node), {
      expected: `a mask that broadcasts to ${formatShape(scores)}`,
      actual: formatShape(mask.shape),
    });
  }
  return full;
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

interface Operands {
  q: Value;
  keys: Value;
  values: Value;
  scale: number;
  softcap: number;
}

/** With the scores in memory, for a caller who wants them or has them capped. Gives the result and those scores. */
function spelledOut(
  c: Compose,
  node: Node,
  sizes: Sizes,
  { q, keys, values, scale, softcap }: Operands,
): [Value, Value] {
  const { dtype } = q;
  const keysByQuery = c.transpose(repeated(c, keys, sizes), [0, 1, 3, 2]);
  const raw = c.mul(c.op('MatMul', [q, keysByQuery]), c.scalar(scale, dtype));
  const cap = c.scalar(softcap, dtype);
  const capped = softcap === 0 ? raw : c.mul(c.op('Tanh', [c.op('Div', [raw, cap])]), cap);
  const { mask } = maskOf(c, node, sizes, false);
  const zero = c.scalar(0, dtype);
  const low = c.scalar(-Infinity, dtype);
  const bias = mask?.dtype === 'bool' ? c.op('Where', [mask, zero, low]) : mask;
  const masked = bias ? c.add(capped, c.cast(bias, dtype)) : capped;
  const softmax = c.op('Softmax', [masked], { axis: -1 });
  // A row without keys would be 0 / 0.
  const isEmpty =
    bias && c.op('Equal', [c.op('ReduceMax', [bias, c.ints([-1])]), c.scalar(-Infinity, bias.dtype)]);
  const weights = isEmpty ? c.op('Where', [isEmpty, zero, softmax]) : softmax;
  const stages = [raw, capped, masked, weights];
  const scores = stages[intAttribute(node, 'qk_matmul_output_mode', 0)] ?? raw;
  return [c.op('MatMul', [weights, repeated(c, values, sizes)]), scores];
}

/** Keys or values of a group of heads once for each head. */
function repeated(c: Compose, x: Value, { heads, keyHeads }: Sizes): Value {
  if (heads === keyHeads) return x;
  const [batch, groups, length, size] = x.shape as [number, number, number, number];
  const grouped = c.reshape(x, [batch, groups, 1, length, size]);
  const wide = c.op('Expand', [grouped, c.ints([batch, groups, heads / keyHeads, length, size])]);
  return c.reshape(wide, [batch, heads, length, size]);
}

export const onnxAttentionOps: OpTable = { Attention: attention };
