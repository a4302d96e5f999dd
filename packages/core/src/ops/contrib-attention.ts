import { ShapeError } from '../errors.ts';
import { OWN_DOMAIN, type Node, type Value } from '../graph/graph.ts';
import { broadcastShapes, formatShape, sizeOf, type Shape } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable, TensorType } from './op.ts';
import { describe, floatAttribute, hasOperand, intAttribute, intsAttribute, operand } from './operands.ts';
import { unsupported } from './unsupported.ts';

// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

function wrong(node: Node, expected: string, actual: Shape | string): ShapeError {
  return new ShapeError(describe(node), {
    expected,
    actual: typeof actual === 'string' ? actual : formatShape(actual),
  });
}

/** Queries, keys and values by head: [B, H, S, D], [B, H, T, D], [B, H, T, E]. */
interface Heads {
  q: Value;
  k: Value;
  v: Value;
}

/** [B, S, H·D] as [B, H, S, D]. */
function toHeads(c: Compose, x: Value, heads: number): Value {
  const [batch, length, hidden] = x.shape as [number, number, number];
  return c.transpose(c.reshape(x, [batch, length, heads, hidden / heads]), [0, 2, 1, 3]);
}

/** [B, H, S, D] as [B, S, H·D]. */
function fromHeads(c: Compose, x: Value): Value {
  const [batch, heads, length, size] = x.shape as [number, number, number, number];
  return c.reshape(c.transpose(x, [0, 2, 1, 3]), [batch, length, heads * size]);
}

/** A float that is 0 where a token may be seen and `mask_filter_value` where not. */
function hide(c: Compose, visible: Value, node: Node, dtype: Value['dtype']): Value {
  const hidden = c.scalar(floatAttribute(node, 'mask_filter_value', -10000), dtype);
  return c.op('Where', [visible, c.scalar(0, dtype), hidden]);
}

/**
 * The mask operand of MultiHeadAttention and Attention as something to add to the scores [B, H, S, T]. Its shape says
 * what it holds: [B] numbers of tokens, [B, T] or [B, S, T] or [B, 1, M, M] ones and zeros, [2B] ends and starts.
 */
function paddingBias(c: Compose, node: Node, mask: Value, scores: Shape): Value {
  const [batch, , length, total] = scores as [number, number, number, number];
  const { shape, dtype } = mask;
  const float = operand(node, 0).dtype;
  const positions = (): Value =>
    c.build.constant(
      Array.from({ length: total }, (_, k) => k),
      [1, 1, 1, total],
      dtype,
    );
  const column = (start: number): Value =>
    c.reshape(c.slice(mask, 0, start, start + batch), [batch, 1, 1, 1]);
  const isOne = (x: Value): Value => c.op('Greater', [x, c.scalar(0, dtype)]);
  if (shape.length === 1) {
    const before = c.op('Less', [positions(), column(0)]);
    if (shape[0] === batch || shape[0] === 3 * batch + 2) return hide(c, before, node, float);
    if (shape[0] === 2 * batch) {
      const after = c.op('GreaterOrEqual', [positions(), column(batch)]);
      return hide(c, c.op('And', [before, after]), node, float);
    }
  }
  if (shape.length === 2 && shape[1] === total) {
    return hide(c, isOne(c.reshape(mask, [shape[0]!, 1, 1, total])), node, float);
  }
  if (shape.length === 3 && shape[1] === length && shape[2] === total) {
    return hide(c, isOne(c.reshape(mask, [shape[0]!, 1, length, total])), node, float);
  }
  if (shape.length === 4 && shape[2]! >= total) {
    const rows = c.slice(mask, 2, total - length, total);
    return hide(c, isOne(c.slice(rows, 3, 0, total)), node, float);
  }
  throw wrong(node, `a mask for scores ${formatShape(scores)}`, shape);
}

/** Rows see no later columns; the last row sees all where there are more columns than rows. */
function causalBias(c: Compose, dtype: Value['dtype'], rows: number, columns: number): Value {
  const column = c.build.constant([...new Array<number>(columns).keys()], [1, 1, 1, columns], 'int64');
  const last = Array.from({ length: rows }, (_, row) => row + columns - rows);
  const visible = c.op('LessOrEqual', [column, c.build.constant(last, [1, 1, rows, 1], 'int64')]);
  return c.op('Where', [visible, c.scalar(0, dtype), c.scalar(-Infinity, dtype)]);
}

/** Softmax(q · kᵀ · scale + masks) · v as one operator. */
function attend(c: Compose, node: Node, { q, k, v }: Heads, masks: readonly Value[], causal: boolean): Value {
  const scale = floatAttribute(node, 'scale', 0) || 1 / Math.sqrt(q.shape[3]!);
  const [rows, columns] = [q.shape[2]!, k.shape[2]!];
  const square = rows === columns && masks.length === 0;
  const all = causal && !square ? [...masks, causalBias(c, q.dtype, rows, columns)] : masks;
  const mask = all.length > 0 ? all.reduce((sum, next) => c.add(sum, next)) : undefined;
  return c.op('Attention', [q, k, v, mask], { scale, causal: causal && square ? 1 : 0 }, OWN_DOMAIN);
}

/** Keys or values of earlier tokens [B, H, P, D] before the new ones. */
function withPast(c: Compose, past: Value | undefined, x: Value): Value {
  return past && past.shape[2] !== 0 ? c.concat([past, x], 2) : x;
}

/** Shapes of MultiHeadAttention's operands, whichever form they have. */
function multiHeadSizes(node: Node): {
  batch: number;
  heads: number;
  length: number;
  size: number;
  total: number;
  valueSize: number;
} {
  const heads = intAttribute(node, 'num_heads', 0);
  const query = operand(node, 0).shape;
  const key = node.inputs[1]?.shape;
  const value = node.inputs[2]?.shape;
  const past = node.inputs[6]?.shape[2] ?? 0;
  const [batch, length] = query as [number, number];
  if (heads < 1) throw wrong(node, 'num_heads', String(heads));
  if (query.length === 5) {
    return { batch, heads, length, size: query[4]!, total: length + past, valueSize: query[4]! };
  }
  if (query.length !== 3 || !key) throw wrong(node, 'queries [B, S, H·D] and keys', query);
  const size = query[2]! / heads;
  if (key.length === 5) return { batch, heads, length, size, total: key[1]! + past, valueSize: key[4]! };
  if (!value) throw wrong(node, 'values', 'none');
  const total = (key.length === 4 ? key[2]! : key[1]!) + past;
  return { batch, heads, length, size, total, valueSize: value.length === 4 ? value[3]! : value[2]! / heads };
}

/** Projections of MultiHeadAttention by head: separate, packed [B, S, H, 3, D], or packed keys and values. */
function multiHeads(c: Compose, node: Node): Heads {
  const { heads, size, valueSize } = multiHeadSizes(node);
  const [query, key, value, bias] = node.inputs as [Value, Value?, Value?, Value?];
  const sizes = [heads * size, heads * size, heads * valueSize];
  const biases = bias ? c.split(bias, 0, sizes) : [];
  const part = (packed: Value, index: number): Value => {
    const [b, s, h, , d] = packed.shape as [number, number, number, number, number];
    return c.transpose(c.reshape(c.slice(packed, 3, index, index + 1), [b, s, h, d]), [0, 2, 1, 3]);
  };
  /** Heads of a projection that may have them already, with its bias. */
  const project = (x: Value, index: number): Value => {
    const addend = biases[index];
    if (x.shape.length === 3) return toHeads(c, addend ? c.add(x, addend) : x, heads);
    return addend ? c.add(x, c.reshape(addend, [1, heads, 1, sizes[index]! / heads])) : x;
  };
  if (query.shape.length === 5) {
    return { q: project(part(query, 0), 0), k: project(part(query, 1), 1), v: project(part(query, 2), 2) };
  }
  const q = project(query, 0);
  if (key!.shape.length === 5) return { q, k: project(part(key!, 0), 1), v: project(part(key!, 1), 2) };
  return { q, k: project(key!, 1), v: project(value!, 2) };
}

const multiHeadAttention: OpDefinition = {
  infer(node) {
    if (hasOperand(node, 8) || node.outputs.length > 3)
      throw unsupported(node, 'shares its cache between steps');
    const { batch, heads, length, size, total, valueSize } = multiHeadSizes(node);
    const { dtype } = operand(node, 0);
    return [
      { dtype, shape: [batch, length, heads * valueSize] },
      { dtype, shape: [batch, heads, total, size] },
      { dtype, shape: [batch, heads, total, valueSize] },
    ];
  },
  expand(node, build) {
    const c = new Compose(build);
    const { q, ...fresh } = multiHeads(c, node);
    const k = withPast(c, node.inputs[6], fresh.k);
    const v = withPast(c, node.inputs[7], fresh.v);
    const scores = [q.shape[0]!, q.shape[1]!, q.shape[2]!, k.shape[2]!];
    const masks: Value[] = [];
    if (hasOperand(node, 4)) masks.push(paddingBias(c, node, operand(node, 4), scores));
    if (hasOperand(node, 5)) masks.push(operand(node, 5));
    const causal = intAttribute(node, 'unidirectional', 0) !== 0;
    return [fromHeads(c, attend(c, node, { q, k, v }, masks, causal)), k, v];
  },
};

/** Widths of the three projections of Attention. */
function projectionSizes(node: Node): [number, number, number] {
  const width = operand(node, 1).shape[1]!;
  const given = intsAttribute(node, 'qkv_hidden_sizes') ?? [];
  const [q, k, v] = given.length === 3 ? given : [width / 3, width / 3, width / 3];
  if (q! + k! + v! !== width) throw wrong(node, `projections of ${width} in all`, given);
  return [q!, k!, v!];
}

/** Attention over one input that the operator itself projects; past keys and values lie in one tensor [2, B, H, P, D]. */
const attention: OpDefinition = {
  infer(node) {
    if (hasOperand(node, 6)) throw unsupported(node, 'shares its cache between steps');
    if (intAttribute(node, 'do_rotary', 0) !== 0) throw unsupported(node, 'rotates inside');
    const heads = intAttribute(node, 'num_heads', 0);
    const { dtype, shape } = operand(node, 0);
    const [batch, length] = shape as [number, number];
    const [, k, v] = projectionSizes(node);
    const past = node.inputs[4]?.shape[3] ?? 0;
    return [
      { dtype, shape: [batch, length, v] },
      { dtype, shape: [2, batch, heads, past + length, k / heads] },
    ];
  },
  expand(node, build) {
    const c = new Compose(build);
    const heads = intAttribute(node, 'num_heads', 0);
    const projected = c.op('MatMul', [operand(node, 0), operand(node, 1)]);
    const biased = hasOperand(node, 2) ? c.add(projected, operand(node, 2)) : projected;
    const [q, newK, newV] = c.split(biased, 2, projectionSizes(node)).map((x) => toHeads(c, x, heads));
    const past = (index: number): Value | undefined => {
      const both = node.inputs[4];
      return both && c.reshape(c.slice(both, 0, index, index + 1), both.shape.slice(1));
    };
    const k = withPast(c, past(0), newK!);
    const v = withPast(c, past(1), newV!);
    const scores = [q!.shape[0]!, heads, q!.shape[2]!, k.shape[2]!];
    const masks: Value[] = [];
    if (hasOperand(node, 3)) masks.push(paddingBias(c, node, operand(node, 3), scores));
    if (hasOperand(node, 5)) masks.push(operand(node, 5));
    const causal = intAttribute(node, 'unidirectional', 0) !== 0;
    const y = fromHeads(c, attend(c, node, { q: q!, k, v }, masks, causal));
    if (node.outputs.length === 1) return [y];
    const stacked = [k, v].map((x) => c.reshape(x, [1, ...x.shape]));
    return [y, c.concat(stacked, 0)];
  },
};

/**
 * Grouped-query attention: fewer heads of keys and values than of queries, a cache, rotary embedding. Only without
 * tokens that are in the cache but not in the sequence's length, as prompts are first processed.
 */
const groupQueryAttention: OpDefinition = {
  infer(node) {
    const past = node.inputs[3]?.shape;
    if (past && sizeOf(past) > 0) throw unsupported(node, 'continues from a cache');
    for (const name of ['local_window_size', 'softcap', 'smooth_softmax']) {
      const value = floatAttribute(node, name, 0);
      if (value !== 0 && value !== -1) throw unsupported(node, `has ${name}`);
    }
    const heads = intAttribute(node, 'num_heads', 0);
    const keyHeads = intAttribute(node, 'kv_num_heads', 0);
    const { dtype, shape } = operand(node, 0);
    const [batch, length, width] = shape as [number, number, number];
    const packed = !hasOperand(node, 1);
    const size = width / (packed ? heads + 2 * keyHeads : heads);
    const total = length + (node.inputs[3]?.shape[2] ?? 0);
    const cache: TensorType = { dtype, shape: [batch, keyHeads, total, size] };
    return [{ dtype, shape: [batch, length, heads * size] }, cache, cache];
  },
  expand(node, build) {
    const c = new Compose(build);
    const heads = intAttribute(node, 'num_heads', 0);
    const keyHeads = intAttribute(node, 'kv_num_heads', 0);
    const query = operand(node, 0);
    const packed = !hasOperand(node, 1);
    const size = query.shape[2]! / (packed ? heads + 2 * keyHeads : heads);
    const parts = packed
      ? c.split(query, 2, [heads * size, keyHeads * size, keyHeads * size])
      : [query, operand(node, 1), operand(node, 2)];
    let [q, k, v] = parts.map((x, index) => toHeads(c, x, index === 0 ? heads : keyHeads)) as [
      Value,
      Value,
      Value,
    ];
    if (intAttribute(node, 'do_rotary', 0) !== 0) {
      const attributes = { interleaved: intAttribute(node, 'rotary_interleaved', 0) };
      const length = q.shape[2]!;
      const [cos, sin] = [7, 8].map((index) => {
        const cache = c.slice(operand(node, index), 0, 0, length);
        return c.op('Expand', [c.reshape(cache, [1, ...cache.shape]), c.ints([q.shape[0]!, ...cache.shape])]);
      });
      [q, k] = [q, k].map((x) => c.op('RotaryEmbedding', [x, cos, sin], attributes)) as [Value, Value];
    }
    return [fromHeads(c, attend(c, node, { q, k, v }, [], true)), k, v];
  },
};

/** ONNX's RotaryEmbedding with its operands in another order, and positions that may be a single start. */
const rotaryEmbedding: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 0).dtype, shape: operand(node, 0).shape }],
  expand(node, build) {
    const c = new Compose(build);
    const [x, positions, cos, sin] = [0, 1, 2, 3].map((index) => operand(node, index)) as [
      Value,
      Value,
      Value,
      Value,
    ];
    const [batch, length] = [x.shape[0]!, x.shape.length === 4 ? x.shape[2]! : x.shape[1]!];
    const steps = c.build.constant(
      Array.from({ length }, (_, k) => k),
      [1, length],
      positions.dtype,
    );
    const isStart = sizeOf(positions.shape) === 1;
    const all = isStart ? c.add(c.reshape(positions, [1, 1]), steps) : positions;
    const shape = broadcastShapes([all.shape, [batch, length]], describe(node));
    const ids = c.op('Expand', [all, c.ints(shape)]);
    const size = intAttribute(node, 'rotary_embedding_dim', 0);
    let heads = intAttribute(node, 'num_heads', 0);
    // Without either, the cache says how large a head is.
    if (x.shape.length === 3 && heads === 0) heads = x.shape[2]! / (2 * cos.shape[1]!);
    const attributes = {
      interleaved: intAttribute(node, 'interleaved', 0),
      rotary_embedding_dim: size,
      ...(x.shape.length === 3 && { num_heads: heads }),
    };
    return [c.op('RotaryEmbedding', [x, cos, sin, ids], attributes)];
  },
};

/** Attention of the domain com.microsoft. */
export const contribAttentionOps: OpTable = {
  Attention: attention,
  GroupQueryAttention: groupQueryAttention,
  MultiHeadAttention: multiHeadAttention,
  RotaryEmbedding: rotaryEmbedding,
};
