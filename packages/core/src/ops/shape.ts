import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import { indexedKernel } from '../kernels/movement/indexed.ts';
import eyeSource from '../kernels/movement/eye.wgsl';
import rangeSource from '../kernels/movement/range.wgsl';
import { f32, i32, scalarOf } from '../kernels/shader.ts';
import { toNumbers } from '../onnx/elements.ts';
import { expandView, reshapeView } from '../plan/view.ts';
import { isFloat, type DataType } from '../tensor/dtype.ts';
import { broadcastShapes, formatShape, normalizeAxis, sizeOf, type Shape } from '../tensor/shape.ts';
import { dtypeAttribute } from './cast.ts';
import type { OpDefinition, OpTable, TensorType } from './op.ts';
import {
  describe,
  intAttribute,
  intsOperand,
  intsOperandOrAttribute,
  operand,
  scalarOperand,
  tensorAttribute,
} from './operands.ts';

/** An operator whose result has the elements of operand 0, in row-major reading order, in another shape. */
function reshaping(shape: (node: Node) => Shape): OpDefinition {
  return {
    infer: (node) => [{ dtype: operand(node, 0).dtype, shape: shape(node) }],
    fold: (_, [x]) => [x!.data],
    lower(node, lowering) {
      const [result] = node.outputs;
      const x = operand(node, 0);
      const view =
        reshapeView(lowering.view(x), result!.shape) ?? reshapeView(lowering.dense(x), result!.shape);
      lowering.alias(result!, view!);
    },
  };
}

/** -1 takes what is left; 0 keeps the dimension, unless `allowzero` says that it means zero. */
function reshapedShape(node: Node): Shape {
  const x = operand(node, 0);
  const wanted = intsOperand(node, 1);
  const allowZero = intAttribute(node, 'allowzero', 0) !== 0;
  const shape = wanted.map((dim, axis) => (dim === 0 && !allowZero ? (x.shape[axis] ?? 0) : dim));
  const free = shape.indexOf(-1);
  const known = sizeOf(shape.filter((dim) => dim !== -1));
  if (free >= 0 && known > 0) shape[free] = sizeOf(x.shape) / known;
  // Nothing says what -1 stands for beside a zero.
  else if (free >= 0) shape[free] = 0;
  const valid = shape.every((dim) => Number.isInteger(dim) && dim >= 0);
  if (!valid || sizeOf(shape) !== sizeOf(x.shape)) {
    throw new ShapeError(describe(node), {
      expected: `a shape for the ${sizeOf(x.shape)} elements of ${formatShape(x.shape)}`,
      actual: formatShape(wanted),
    });
  }
  return shape;
}

/** Axes of Squeeze and Unsqueeze: an operand since opset 13, an attribute before. Checked, sorted, not negative. */
function axesOf(node: Node, rank: number): number[] | undefined {
  const axes = intsOperandOrAttribute(node, 1, 'axes')?.map((axis) =>
    normalizeAxis(axis, rank, describe(node)),
  );
  if (axes && new Set(axes).size !== axes.length) {
    throw new ShapeError(describe(node), { expected: 'axes that differ', actual: formatShape(axes) });
  }
  return axes?.sort((a, b) => a - b);
}

function squeezedShape(node: Node): Shape {
  const { shape } = operand(node, 0);
  const axes = axesOf(node, shape.length);
  if (!axes) return shape.filter((dim) => dim !== 1);
  for (const axis of axes) {
    if (shape[axis] !== 1) {
      throw new ShapeError(describe(node), {
        expected: `axis ${axis} to be of size 1`,
        actual: formatShape(shape),
      });
    }
  }
  return shape.filter((_, axis) => !axes.includes(axis));
}

function unsqueezedShape(node: Node): Shape {
  const { shape } = operand(node, 0);
  const count = intsOperandOrAttribute(node, 1, 'axes')?.length ?? 0;
  const axes = axesOf(node, shape.length + count) ?? [];
  const rest = shape.slice();
  return Array.from({ length: shape.length + count }, (_, axis) => (axes.includes(axis) ? 1 : rest.shift()!));
}

function flattenedShape(node: Node): Shape {
  const { shape } = operand(node, 0);
  const given = intAttribute(node, 'axis', 1);
  const axis = given === shape.length ? given : normalizeAxis(given, shape.length, describe(node));
  return [sizeOf(shape.slice(0, axis)), sizeOf(shape.slice(axis))];
}

/** Shape as a tensor, from `start` to `end` where they are given (opset 15). */
function shapeElements(node: Node): number[] {
  const { shape } = operand(node, 0);
  const rank = shape.length;
  const clamp = (axis: number): number => Math.min(Math.max(axis < 0 ? axis + rank : axis, 0), rank);
  return shape.slice(clamp(intAttribute(node, 'start', 0)), clamp(intAttribute(node, 'end', rank)));
}

const shape: OpDefinition = {
  infer: (node) => [{ dtype: 'int64', shape: [shapeElements(node).length] }],
  fold: (node) => [Float64Array.from(shapeElements(node))],
};

const size: OpDefinition = {
  infer: () => [{ dtype: 'int64', shape: [] }],
  fold: (node) => [Float64Array.of(sizeOf(operand(node, 0).shape))],
};

const identity: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 0).dtype, shape: operand(node, 0).shape }],
  fold: (_, [x]) => [x!.data],
  lower(node, lowering) {
    lowering.alias(node.outputs[0]!, lowering.view(operand(node, 0)));
  },
};

const expand: OpDefinition = {
  infer(node) {
    const x = operand(node, 0);
    const wanted = intsOperand(node, 1);
    return [{ dtype: x.dtype, shape: broadcastShapes([x.shape, wanted], describe(node)) }];
  },
  fold: (node, [x]) => [expandData(x!.data, x!.shape, node.outputs[0]!.shape)],
  lower(node, lowering) {
    const [result] = node.outputs;
    lowering.alias(result!, expandView(lowering.view(operand(node, 0)), result!.shape));
  },
};

/** Elements of a row-major tensor broadcast to another shape. */
function expandData(data: Float64Array, from: Shape, to: Shape): Float64Array {
  const missing = to.length - from.length;
  let step = 1;
  const strides = from.map(() => 0);
  for (let axis = from.length - 1; axis >= 0; axis--) {
    strides[axis] = from[axis] === 1 ? 0 : step;
    step *= from[axis]!;
  }
  return Float64Array.from({ length: sizeOf(to) }, (_, i) => {
    let index = 0;
    let rest = i;
    for (let axis = to.length - 1; axis >= missing; axis--) {
      index += (rest % to[axis]!) * strides[axis - missing]!;
      rest = Math.floor(rest / to[axis]!);
    }
    return data[index]!;
  });
}

/** What ConstantOfShape repeats: the one element of `value`, a float 0 without it. */
function fillOf(node: Node): { dtype: DataType; value: number } {
  const ref = tensorAttribute(node, 'value');
  if (!ref) return { dtype: 'float32', value: 0 };
  if (ref.data.kind !== 'inline' || sizeOf(ref.dims) !== 1) {
    throw new ShapeError(describe(node), {
      expected: 'value to have one element',
      actual: formatShape(ref.dims),
    });
  }
  return { dtype: ref.dtype, value: toNumbers(ref.dtype, ref.data.bytes, 1)[0]! };
}

const constantOfShape: OpDefinition = {
  infer(node) {
    const shape = intsOperand(node, 0);
    if (!shape.every((dim) => dim >= 0)) {
      throw new ShapeError(describe(node), {
        expected: 'dimensions of at least 0',
        actual: formatShape(shape),
      });
    }
    return [{ dtype: fillOf(node).dtype, shape }];
  },
  fold: (node) => [new Float64Array(sizeOf(node.outputs[0]!.shape)).fill(fillOf(node).value)],
  lower(node, lowering) {
    const [result] = node.outputs;
    const { dtype, value } = fillOf(node);
    const data = isFloat(dtype)
      ? Float32Array.of(value)
      : dtype === 'bool' || dtype.startsWith('u')
        ? Uint32Array.of(value)
        : Int32Array.of(value);
    lowering.alias(result!, expandView(lowering.constant(data, []), result!.shape));
  },
};

function rangeType(node: Node): TensorType {
  const [start, limit, delta] = [0, 1, 2].map((index) => scalarOperand(node, index));
  const count = Math.max(Math.ceil((limit! - start!) / delta!), 0);
  if (!Number.isFinite(count)) {
    throw new ShapeError(describe(node), { expected: 'a step that is not 0', actual: String(delta) });
  }
  return { dtype: operand(node, 0).dtype, shape: [count] };
}

const range: OpDefinition = {
  infer: (node) => [rangeType(node)],
  fold: (node, [start, , delta]) => [
    Float64Array.from(
      { length: node.outputs[0]!.shape[0]! },
      (_, i) => start!.data[0]! + i * delta!.data[0]!,
    ),
  ],
  lower(node, lowering) {
    const output = lowering.allocate(node.outputs[0]!);
    const type = scalarOf(output.storage);
    const param = type === 'f32' ? f32 : i32;
    const [start, delta] = [scalarOperand(node, 0), scalarOperand(node, 2)];
    lowering.dispatch(
      indexedKernel({
        name: `range_${type}`,
        output,
        params: { start: param(start), delta: param(delta) },
        body: rangeSource,
      }),
    );
  },
};

const eyeLike: OpDefinition = {
  infer(node) {
    const x = operand(node, 0);
    if (x.shape.length !== 2) {
      throw new ShapeError(describe(node), { expected: 'a matrix', actual: formatShape(x.shape) });
    }
    return [{ dtype: dtypeAttribute(node, 'dtype') ?? x.dtype, shape: x.shape }];
  },
  fold(node) {
    const [rows, columns] = node.outputs[0]!.shape as [number, number];
    const k = intAttribute(node, 'k', 0);
    const data = new Float64Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      if (row + k >= 0 && row + k < columns) data[row * columns + row + k] = 1;
    }
    return [data];
  },
  lower(node, lowering) {
    const output = lowering.allocate(node.outputs[0]!);
    const k = i32(intAttribute(node, 'k', 0));
    lowering.dispatch(
      indexedKernel({ name: `eye_${output.storage}`, output, params: { k }, body: eyeSource }),
    );
  },
};

/** Operators about shapes. They cost nothing on the GPU: they fold away or make views. */
export const shapeOps: OpTable = {
  ConstantOfShape: constantOfShape,
  Expand: expand,
  EyeLike: eyeLike,
  Flatten: reshaping(flattenedShape),
  Identity: identity,
  Range: range,
  Reshape: reshaping(reshapedShape),
  Shape: shape,
  Size: size,
  Squeeze: reshaping(squeezedShape),
  Unsqueeze: reshaping(unsqueezedShape),
};
