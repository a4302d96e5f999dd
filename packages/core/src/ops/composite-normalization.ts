import { ShapeError } from '../errors.ts';
import type { Node, Value } from '../graph/graph.ts';
import { equalShapes, formatShape, normalizeAxis, sizeOf } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable, TensorType } from './op.ts';
import { describe, floatAttribute, intAttribute, intsAttribute, operand } from './operands.ts';

// Normalizations written out in simpler operators, whose elementwise parts fuse.

const likeInput = (node: Node): TensorType => {
  const { dtype, shape } = operand(node, 0);
  return { dtype, shape };
};

/** A number in the dtype of `like`. */
function numberLike(c: Compose, like: Value, value: number): Value {
  return c.cast(c.scalar(value, 'float32'), like.dtype);
}

function average(c: Compose, x: Value, axes: readonly number[], keepDims: boolean): Value {
  const attributes = { keepdims: Number(keepDims), noop_with_empty_axes: 1 };
  return c.op('ReduceMean', [x, c.ints(axes)], attributes);
}

/** (x - mean) / sqrt(variance + epsilon) * scale + bias with given statistics; what depends on weights runs once. */
const batchNormalization: OpDefinition = {
  infer(node) {
    const { shape } = operand(node, 0);
    const channels = [shape[1] ?? 1];
    for (let index = 1; index < 5; index++) {
      if (equalShapes(operand(node, index).shape, channels)) continue;
      throw new ShapeError(describe(node), {
        expected: `operand ${index} of shape ${formatShape(channels)}`,
        actual: formatShape(operand(node, index).shape),
      });
    }
    return [
      likeInput(node),
      { dtype: operand(node, 3).dtype, shape: channels },
      { dtype: operand(node, 4).dtype, shape: channels },
    ];
  },
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const training = intAttribute(node, 'training_mode', 0) !== 0;
    const momentum = floatAttribute(node, 'momentum', 0.9);
    const channels = [x.shape[1] ?? 1, ...x.shape.slice(2).map(() => 1)];
    const alongChannels = (value: Value): Value => c.reshape(c.cast(value, x.dtype), channels);

    let mean = operand(node, 3);
    let variance = operand(node, 4);
    if (training) {
      const reduced = x.shape.map((_, axis) => axis).filter((axis) => axis !== 1);
      mean = average(c, x, reduced, false);
      const centred = c.sub(x, alongChannels(mean));
      variance = average(c, c.mul(centred, centred), reduced, false);
    }
    const epsilon = numberLike(c, variance, floatAttribute(node, 'epsilon', 1e-5));
    const deviation = c.op('Sqrt', [c.add(variance, epsilon)]);
    const factor = c.op('Div', [c.cast(operand(node, 1), deviation.dtype), deviation]);
    const scaled = c.mul(c.sub(x, alongChannels(mean)), alongChannels(factor));
    const y = c.add(scaled, alongChannels(operand(node, 2)));

    const running = (old: Value, now: Value): Value =>
      c.add(
        c.mul(old, numberLike(c, old, momentum)),
        c.mul(c.cast(now, old.dtype), numberLike(c, old, 1 - momentum)),
      );
    if (!training || node.outputs.length < 2) return [y, operand(node, 3), operand(node, 4)];
    return [y, running(operand(node, 3), mean), running(operand(node, 4), variance)];
  },
};

/** x over its Lp norm along an axis; 0 where the norm is 0. */
const lpNormalization: OpDefinition = {
  infer: (node) => [likeInput(node)],
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const axis = normalizeAxis(intAttribute(node, 'axis', -1), x.shape.length, describe(node));
    const norm = lpNorm(c, x, [axis], intAttribute(node, 'p', 2));
    const empty = c.op('Equal', [norm, numberLike(c, x, 0)]);
    // 0 / 1 is the 0 that is wanted.
    return [c.op('Div', [x, c.op('Where', [empty, numberLike(c, x, 1), norm])])];
  },
};

/** (Σ |x|^p)^(1/p) over axes, which stay as axes of size 1. */
export function lpNorm(c: Compose, x: Value, axes: readonly number[], p: number): Value {
  const reduce = (op: string, value: Value): Value =>
    c.op(op, [value, c.ints(axes)], { keepdims: 1, noop_with_empty_axes: 1 });
  if (p === 1 || p === 2) return reduce(p === 1 ? 'ReduceL1' : 'ReduceL2', x);
  const power = c.op('Pow', [c.op('Abs', [x]), numberLike(c, x, p)]);
  return c.op('Pow', [reduce('ReduceSum', power), numberLike(c, x, 1 / p)]);
}

/** (x - mean) / (deviation + 1e-9) over the given axes. */
const meanVarianceNormalization: OpDefinition = {
  infer: (node) => [likeInput(node)],
  expand(node, build) {
    const x = operand(node, 0);
    const axes = intsAttribute(node, 'axes', [0, 2, 3]).map((axis) =>
      normalizeAxis(axis, x.shape.length, describe(node)),
    );
    const c = new Compose(build);
    const centred = c.sub(x, average(c, x, axes, true));
    const deviation = c.op('Sqrt', [average(c, c.mul(centred, centred), axes, true)]);
    return [c.op('Div', [centred, c.add(deviation, numberLike(c, x, 1e-9))])];
  },
};

/** x / (bias + alpha * mean of squares over `size` neighbouring channels) ^ beta. */
const localResponseNormalization: OpDefinition = {
  infer: (node) => [likeInput(node)],
  expand(node, build) {
    const x = operand(node, 0);
    const size = intAttribute(node, 'size', 1);
    const [batch = 1, channels = 1, ...spatial] = x.shape;
    const c = new Compose(build);
    const image = c.reshape(c.mul(x, x), [batch, 1, channels, sizeOf(spatial)]);
    // What lies beyond the first and the last channel counts as zeros: the divisor is always `size`.
    const mean = c.op('AveragePool', [image], {
      kernel_shape: [size, 1],
      pads: [Math.floor((size - 1) / 2), 0, Math.ceil((size - 1) / 2), 0],
      count_include_pad: 1,
    });
    const attribute = (name: string, missing: number): Value =>
      numberLike(c, x, floatAttribute(node, name, missing));
    const scaled = c.mul(c.reshape(mean, x.shape), attribute('alpha', 1e-4));
    const power = c.op('Pow', [c.add(scaled, attribute('bias', 1)), attribute('beta', 0.75)]);
    return [c.op('Div', [x, power])];
  },
};

export const compositeNormalizationOps: OpTable = {
  BatchNormalization: batchNormalization,
  LpNormalization: lpNormalization,
  MeanVarianceNormalization: meanVarianceNormalization,
  LRN: localResponseNormalization,
};
