import { ShapeError } from '../errors.ts';
import { OWN_DOMAIN, type Node, type Value } from '../graph/graph.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { Storage, TensorView } from '../plan/plan.ts';
import { isDense } from '../plan/view.ts';
import { isFloat } from '../tensor/dtype.ts';
import { formatShape, normalizeAxis, sizeOf, stridesOf, type Shape } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { constantOperand, describe, hasOperand, intAttribute, operand } from './operands.ts';
import { unsupported } from './unsupported.ts';

// Weights in blocks of 4- or 8-bit integers along the inner dimension, as onnxruntime's quantizer and Olive write them.
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

interface BlockSizes {
  rows: number;
  columns: number;
  bits: 4 | 8;
  block: number;
  /** Blocks in a row; the last may hang over. */
  blocks: number;
}

function sizesOf(node: Node): BlockSizes {
  const [columns, rows] = [intAttribute(node, 'K', 0), intAttribute(node, 'N', 0)];
  const bits = intAttribute(node, 'bits', 4);
  const block = intAttribute(node, 'block_size', 0);
  if (bits !== 4 && bits !== 8) throw unsupported(node, `has weights of ${bits} bits`);
  const blocks = Math.ceil(columns / block);
  const b = operand(node, 1).shape;
  if (!(columns > 0 && rows > 0 && block > 0) || sizeOf(b) !== (rows * blocks * block * bits) / 8) {
    throw new ShapeError(describe(node), {
      expected: `${rows} rows of ${blocks} blocks of ${block} weights`,
      actual: formatShape(b),
    });
  }
  return { rows, columns, bits, block, blocks };
}

/** Whether the group of each term, operand 4, is the block that it lies in. */
function isInOrder(node: Node): boolean {
  const { block } = sizesOf(node);
  return constantOperand(node, 4).data.every((group, k) => group === Math.floor(k / block));
}

/** Bytes of a file as narrower integers that lie in them. */
function reinterpreted(
  view: TensorView,
  storage: Storage,
  shape: Shape,
  strides: readonly number[],
): TensorView {
  if (view.storage !== 'u8' || !isDense(view))
    throw new Error('Internal error: packed weights were unpacked');
  return { ...view, storage, shape, strides };
}

/** A·Wᵀ + bias with W [N, K] in blocks. */
const matMulNBits: OpDefinition = {
  infer(node) {
    const { rows, columns } = sizesOf(node);
    const { dtype, shape } = operand(node, 0);
    if (shape.at(-1) !== columns) {
      throw new ShapeError(describe(node), { expected: `rows of ${columns}`, actual: formatShape(shape) });
    }
    if (hasOperand(node, 4) && !isInOrder(node)) {
      throw unsupported(node, 'has its groups in an order of their own');
    }
    return [{ dtype, shape: [...shape.slice(0, -1), rows] }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const { rows, columns, bits, block } = sizesOf(node);
    const [a, b, scales, zeros, , bias] = node.inputs as [Value, Value, Value, Value?, Value?, Value?];
    const attributes = { N: rows, K: columns, bits, block_size: block };
    const weight = c.op('DequantizeBlocks', [undefined, b, scales, zeros], attributes, OWN_DOMAIN);
    const y = c.op('MatMul', [a, c.transpose(c.cast(weight, a.dtype), [1, 0])]);
    return [bias ? c.add(y, bias) : y];
  },
};

/** Zero points [N, blocks]: floats, or integers packed like the weights, each row padded to a whole byte. */
function zeroPoints(node: Node, lowering: Lowering, { rows, bits, blocks }: BlockSizes): TensorView | number {
  if (!hasOperand(node, 3)) return 2 ** (bits - 1);
  const value = operand(node, 3);
  const { origin } = value;
  if (origin.kind === 'constant' && !isFloat(value.dtype)) {
    const perRow = Math.ceil((blocks * bits) / 8);
    const at = (row: number, k: number): number =>
      bits === 8
        ? origin.data[row * perRow + k]!
        : (origin.data[row * perRow + (k >> 1)]! >> (4 * (k & 1))) & 15;
    const numbers = Array.from({ length: rows * blocks }, (_, i) => at(Math.floor(i / blocks), i % blocks));
    if (numbers.every((number) => number === numbers[0])) return numbers[0]!;
    return lowering.constant(Float32Array.from(numbers), [rows, blocks]);
  }
  const view = isFloat(value.dtype) ? lowering.dense(value) : lowering.view(value);
  const shape = [rows, blocks];
  if (isFloat(value.dtype)) return { ...view, shape, strides: stridesOf(shape) };
  if (bits === 8) return reinterpreted(view, 'u8', shape, [blocks, 1]);
  return reinterpreted(view, 'u4', shape, [2 * Math.ceil(blocks / 2), 1]);
}

/**
 * `DequantizeBlocks(_, b, scales, zeros?) -> [N, K]` in the scales' dtype: the weight of MatMulNBits with the same
 * operands and attributes `N`, `K`, `bits`, `block_size`. Products read the integers themselves.
 */
const dequantizeBlocks: OpDefinition = {
  infer(node) {
    const { rows, columns } = sizesOf(node);
    return [{ dtype: operand(node, 2).dtype, shape: [rows, columns] }];
  },
  lower(node, lowering) {
    const sizes = sizesOf(node);
    const { rows, columns, bits, block, blocks } = sizes;
    const packed = lowering.view(operand(node, 1));
    const shape = [rows, columns];
    const x = reinterpreted(packed, bits === 4 ? 'u4' : 'u8', shape, [blocks * block, 1]);
    const scales = lowering.dense(operand(node, 2));
    const scale = { ...scales, shape: [rows, blocks], strides: [blocks, 1] };
    const zero = zeroPoints(node, lowering, sizes);
    lowering.dequantized(node.outputs[0]!, { x, scale, zero, block: { axis: 1, size: block } });
  },
};

/** `UnpackNibbles(x: uint8 [..., n]) -> uint4 [..., 2n]`: the same bytes, seen as pairs. */
const unpackNibbles: OpDefinition = {
  infer(node) {
    const { shape } = operand(node, 0);
    return [{ dtype: 'uint4', shape: [...shape.slice(0, -1), 2 * shape.at(-1)!] }];
  },
  lower(node, lowering) {
    const [result] = node.outputs;
    const view = lowering.view(operand(node, 0));
    lowering.alias(result!, reinterpreted(view, 'u4', result!.shape, stridesOf(result!.shape)));
  },
};

/** Rows of a quantized table, dequantized after they are gathered. */
const gatherBlockQuantized: OpDefinition = {
  infer(node) {
    const [data, indices, scales] = [0, 1, 2].map((index) => operand(node, index)) as [Value, Value, Value];
    const bits = intAttribute(node, 'bits', 4);
    if (bits !== 4 && bits !== 8) throw unsupported(node, `has elements of ${bits} bits`);
    const axis = normalizeAxis(intAttribute(node, 'gather_axis', 0), data.shape.length, describe(node));
    const quantized = normalizeAxis(
      intAttribute(node, 'quantize_axis', 1),
      data.shape.length,
      describe(node),
    );
    if (axis === quantized) throw unsupported(node, 'gathers along the axis of its blocks');
    const wide = isPacked(node) ? [...data.shape.slice(0, -1), 2 * data.shape.at(-1)!] : data.shape;
    return [{ dtype: scales.dtype, shape: wide.toSpliced(axis, 1, ...indices.shape) }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const [data, indices, scales, zeros] = node.inputs as [Value, Value, Value, Value?];
    const rank = data.shape.length;
    const axis = normalizeAxis(intAttribute(node, 'gather_axis', 0), rank, describe(node));
    const quantized = normalizeAxis(intAttribute(node, 'quantize_axis', 1), rank, describe(node));
    const unpack = (x: Value): Value => (isPacked(node) ? c.op('UnpackNibbles', [x], {}, OWN_DOMAIN) : x);
    const pick = (x: Value): Value => c.op('Gather', [x, indices], { axis });
    const blocks = scales.shape.at(quantized)!;
    const given = zeros && c.slice(unpack(zeros), rank - 1, 0, scales.shape.at(-1)!);
    const middle = isPacked(node) ? 8 : data.dtype === 'uint8' ? 128 : 0;
    const [x, scale] = [pick(unpack(data)), pick(scales)];
    const constant =
      middle === 0
        ? undefined
        : c.build.constant(new Array<number>(sizeOf(scale.shape)).fill(middle), scale.shape, x.dtype);
    const own = quantized > axis ? quantized + indices.shape.length - 1 : quantized;
    const attributes = { axis: own, block_size: Math.ceil(x.shape[own]! / blocks) };
    return [c.op('DequantizeLinear', [x, scale, given ? pick(given) : constant], attributes)];
  },
};

/** Whether bytes hold two elements each. */
function isPacked(node: Node): boolean {
  return operand(node, 0).dtype === 'uint8' && intAttribute(node, 'bits', 4) === 4;
}

/** Operators on packed weights of the domain com.microsoft. */
export const blockQuantizationOps: OpTable = {
  GatherBlockQuantized: gatherBlockQuantized,
  MatMulNBits: matMulNBits,
};

/** Operators of our own domain. */
export const ownBlockQuantizationOps: OpTable = {
  DequantizeBlocks: dequantizeBlocks,
  UnpackNibbles: unpackNibbles,
};
