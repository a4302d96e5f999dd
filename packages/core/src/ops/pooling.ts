import { ShapeError } from '../errors.ts';
import type { Node, Value } from '../graph/graph.ts';
import { memoryOrder } from '../kernels/walk.ts';
import { pool, type PoolAxis, type PoolKind } from '../kernels/pool/pool.ts';
import { rowMajor } from '../plan/view.ts';
import { isFloat } from '../tensor/dtype.ts';
import { formatShape, sizeOf } from '../tensor/shape.ts';
import { lpNorm } from './composite-normalization.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable, TensorType } from './op.ts';
import {
  describe,
  hasOperand,
  intAttribute,
  intsAttribute,
  intsOperand,
  operand,
  stringAttribute,
} from './operands.ts';

interface Window extends PoolAxis {
  output: number;
}

function list(node: Node, name: string, length: number, missing: number): number[] {
  const given = intsAttribute(node, name) ?? Array.from({ length }, () => missing);
  if (given.length !== length) {
    throw new ShapeError(describe(node), { expected: `${length} ${name}`, actual: formatShape(given) });
  }
  return given;
}

/** Windows along the spatial axes of operand 0, after all attributes. */
function windowsOf(node: Node): Window[] {
  const { shape } = operand(node, 0);
  const spatial = shape.length - 2;
  const kernels = intsAttribute(node, 'kernel_shape', []);
  if (spatial < 1 || kernels.length !== spatial) {
    throw new ShapeError(describe(node), {
      expected: `[N, C, …] with a kernel size for each spatial axis`,
      actual: `${formatShape(shape)} and ${formatShape(kernels)}`,
    });
  }
  const strides = list(node, 'strides', spatial, 1);
  const dilations = list(node, 'dilations', spatial, 1);
  const pads = list(node, 'pads', 2 * spatial, 0);
  const auto = stringAttribute(node, 'auto_pad', 'NOTSET');
  const ceiling = intAttribute(node, 'ceil_mode', 0) !== 0;
  return kernels.map((kernel, d) => {
    const size = shape[2 + d]!;
    const [stride, dilation] = [strides[d]!, dilations[d]!];
    if (kernel < 1 || stride < 1 || dilation < 1) {
      throw new ShapeError(describe(node), {
        expected: 'positive kernel sizes, strides and dilations',
        actual: `${kernel}, ${stride} and ${dilation}`,
      });
    }
    const extent = (kernel - 1) * dilation + 1;
    const window = { kernel, stride, dilation };
    if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
      const output = Math.ceil(size / stride);
      const total = Math.max(0, (output - 1) * stride + extent - size);
      const less = Math.floor(total / 2);
      const padBefore = auto === 'SAME_UPPER' ? less : total - less;
      return { ...window, output, padBefore, padAfter: total - padBefore };
    }
    const [padBefore, padAfter] = auto === 'VALID' ? [0, 0] : [pads[d]!, pads[d + spatial]!];
    const steps = (size + padBefore + padAfter - extent) / stride;
    let output = (ceiling ? Math.ceil(steps) : Math.floor(steps)) + 1;
    // A window may not start in the padding behind the last element.
    if (ceiling && (output - 1) * stride >= size + padBefore) output--;
    if (output < 0) {
      throw new ShapeError(describe(node), {
        expected: `at least ${extent} elements along axis ${2 + d}, padding included`,
        actual: formatShape(shape),
      });
    }
    return { ...window, output, padBefore, padAfter };
  });
}

function pooledType(node: Node): TensorType {
  const { dtype, shape } = operand(node, 0);
  return { dtype, shape: [...shape.slice(0, 2), ...windowsOf(node).map(({ output }) => output)] };
}

function pooling(kind: (node: Node) => PoolKind): OpDefinition {
  return {
    acceptsEpilogue: true,
    infer(node) {
      const type = pooledType(node);
      return [type, { dtype: 'int64', shape: type.shape }];
    },
    refuse(node) {
      const { dtype } = operand(node, 0);
      return isFloat(dtype) || kind(node).name === 'max' ? undefined : `it averages ${dtype}`;
    },
    lower(node, lowering) {
      const [output, places] = node.outputs;
      const x = lowering.view(operand(node, 0));
      const windows = windowsOf(node);
      const order = memoryOrder(x);
      const y = lowering.allocate(output!, { order });
      pool(lowering, {
        x,
        y,
        axes: new Map(windows.map((window, d) => [2 + d, window])),
        kind: kind(node),
        indices: places && {
          view: lowering.allocate(places, { order }),
          columnMajor: intAttribute(node, 'storage_order', 0) !== 0,
        },
        epilogue: lowering.epilogue(node),
      });
    },
  };
}

const spatialAxes = (x: Value): number[] => rowMajor(x.shape.length).slice(2);

/** A reduction of all spatial axes. */
function globalPooling(reduce: (c: Compose, x: Value, node: Node) => Value): OpDefinition {
  return {
    infer(node) {
      const { dtype, shape } = operand(node, 0);
      return [{ dtype, shape: shape.map((dim, axis) => (axis < 2 ? dim : 1)) }];
    },
    expand: (node, build) => [reduce(new Compose(build), operand(node, 0), node)],
  };
}

const reduceBy =
  (op: string) =>
  (c: Compose, x: Value): Value =>
    c.op(op, [x, c.ints(spatialAxes(x))], { keepdims: 1, noop_with_empty_axes: 1 });

/** Shape that MaxUnpool restores where none is given: the smallest that MaxPool makes operand 0 from. */
function unpooledShape(node: Node): number[] {
  const { shape } = operand(node, 0);
  const spatial = shape.length - 2;
  const kernels = list(node, 'kernel_shape', spatial, 1);
  const strides = list(node, 'strides', spatial, 1);
  const pads = list(node, 'pads', 2 * spatial, 0);
  const sizes = kernels.map(
    (kernel, d) => (shape[2 + d]! - 1) * strides[d]! - pads[d]! - pads[d + spatial]! + kernel,
  );
  return [...shape.slice(0, 2), ...sizes];
}

/** Puts each element where MaxPool's second result says; zeros elsewhere. */
const maxUnpool: OpDefinition = {
  infer(node) {
    const shape = hasOperand(node, 2) ? intsOperand(node, 2) : unpooledShape(node);
    return [{ dtype: operand(node, 0).dtype, shape }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const shape = unpooledShape(node);
    const count = sizeOf(x.shape);
    const zeros = c.op('Expand', [c.cast(c.scalar(0, 'float32'), x.dtype), c.ints([sizeOf(shape)])]);
    const places = c.reshape(operand(node, 1), [count]);
    const flat = c.op('ScatterElements', [zeros, places, c.reshape(x, [count])], { axis: 0 });
    const y = c.reshape(flat, shape);
    if (!hasOperand(node, 2)) return [y];
    const after = intsOperand(node, 2).map((size, axis) => size - shape[axis]!);
    return [c.op('Pad', [y, c.ints([...shape.map(() => 0), ...after])])];
  },
};

export const poolingOps: OpTable = {
  AveragePool: pooling((node) => ({
    name: 'average',
    includePad: intAttribute(node, 'count_include_pad', 0) !== 0,
  })),
  MaxPool: pooling(() => ({ name: 'max' })),
  LpPool: pooling((node) => ({ name: 'lp', p: intAttribute(node, 'p', 2) })),
  GlobalAveragePool: globalPooling(reduceBy('ReduceMean')),
  GlobalMaxPool: globalPooling(reduceBy('ReduceMax')),
  GlobalLpPool: globalPooling((c, x, node) => lpNorm(c, x, spatialAxes(x), intAttribute(node, 'p', 2))),
  MaxUnpool: maxUnpool,
};
