import { ShapeError } from '../errors.ts';
import type { Node, Value } from '../graph/graph.ts';
import { equalShapes, formatShape, normalizeAxis, sizeOf } from '../tensor/shape.ts';
import type { Build, OpDefinition, OpTable, TensorType } from './op.ts';
import { describe, floatAttribute, intAttribute, intsAttribute, operand } from './operands.ts';

// Normalizations written out in simpler operators, whose elementwise parts fuse.

const likeInput = (node: Node): TensorType => {
  const { dtype, shape } = operand(node, 0);
  return { dtype, shape };
};

const ints = (build: Build, data: readonly number[]): Value => build.constant(data, [data.length], 'int64');

/** A number in the dtype of `like`. */
function numberLike(build: Build, like: Value, value: number): Value {
  const constant = build.constant([value], [], 'float32');
  return like.dtype === 'float32' ? constant : build.node('CastLike', [constant, like])[0]!;
}

function one(build: Build, op: string, ...inputs: Value[]): Value {
  return build.node(op, inputs)[0]!;
}

function average(build: Build, x: Value, axes: readonly number[], keepDims: boolean): Value {
  return build.node('ReduceMean', [x, ints(build, axes)], {
    keepdims: Number(keepDims),
    noop_with_empty_axes: 1,
  })[0]!;
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
    const x = operand(node, 0);
    const rank = x.shape.length;
    const training = intAttribute(node, 'training_mode', 0) !== 0;
    const momentum = floatAttribute(node, 'momentum', 0.9);
    const reduced = x.shape.map((_, axis) => axis).filter((axis) => axis !== 1);
    const like = (value: Value, other: Value): Value =>
      value.dtype === other.dtype ? value : one(build, 'CastLike', value, other);
    const alongChannels = (value: Value): Value =>
      one(
        build,
        'Reshape',
        like(value, x),
        ints(build, [x.shape[1] ?? 1, ...new Array<number>(Math.max(0, rank - 2)).fill(1)]),
      );

    let mean = operand(node, 3);
    let variance = operand(node, 4);
    if (training) {
      mean = average(build, x, reduced, false);
      const centered = one(build, 'Sub', x, alongChannels(mean));
      variance = average(build, one(build, 'Mul', centered, centered), reduced, false);
    }
    const epsilon = numberLike(build, variance, floatAttribute(node, 'epsilon', 1e-5));
    const deviation = one(build, 'Sqrt', one(build, 'Add', variance, epsilon));
    const factor = one(build, 'Div', like(operand(node, 1), deviation), deviation);
    const centered = one(build, 'Sub', x, alongChannels(mean));
    const scaled = one(build, 'Mul', centered, alongChannels(factor));
    const y = one(build, 'Add', scaled, alongChannels(operand(node, 2)));

    const running = (old: Value, now: Value): Value => {
      const kept = one(build, 'Mul', old, numberLike(build, old, momentum));
      return one(build, 'Add', kept, one(build, 'Mul', like(now, old), numberLike(build, old, 1 - momentum)));
    };
    if (!training || node.outputs.length < 2) return [y, operand(node, 3), operand(node, 4)];
    return [y, running(operand(node, 3), mean), running(operand(node, 4), variance)];
  },
};

/** x over its L1 or L2 norm along an axis; 0 where the norm is 0. */
const lpNormalization: OpDefinition = {
  infer: (node) => [likeInput(node)],
  refuse: (node) =>
    [1, 2].includes(intAttribute(node, 'p', 2)) ? undefined : `p is ${intAttribute(node, 'p', 2)}`,
  expand(node, build) {
    const x = operand(node, 0);
    const axis = normalizeAxis(intAttribute(node, 'axis', -1), x.shape.length, describe(node));
    const op = intAttribute(node, 'p', 2) === 1 ? 'ReduceL1' : 'ReduceL2';
    const [norm] = build.node(op, [x, ints(build, [axis])], { keepdims: 1 });
    const empty = one(build, 'Equal', norm!, numberLike(build, x, 0));
    // 0 / 1 is the 0 that is wanted.
    const [divisor] = build.node('Where', [empty, numberLike(build, x, 1), norm]);
    return [one(build, 'Div', x, divisor!)];
  },
};

/** (x - mean) / (deviation + 1e-9) over the given axes. */
const meanVarianceNormalization: OpDefinition = {
  infer: (node) => [likeInput(node)],
  expand(node, build) {
    const x = operand(node, 0);
    const axes = intsAttribute(node, 'axes', [0, 2, 3]).map((axis) =>
      normalizeAxis(axis, x.shape.length, describe(node)),
    );
    const centered = one(build, 'Sub', x, average(build, x, axes, true));
    const variance = average(build, one(build, 'Mul', centered, centered), axes, true);
    const deviation = one(build, 'Add', one(build, 'Sqrt', variance), numberLike(build, x, 1e-9));
    return [one(build, 'Div', centered, deviation)];
  },
};

/** x / (bias + alpha * mean of squares over `size` neighbouring channels) ^ beta. */
const localResponseNormalization: OpDefinition = {
  infer: (node) => [likeInput(node)],
  expand(node, build) {
    const x = operand(node, 0);
    const size = intAttribute(node, 'size', 1);
    const [batch = 1, channels = 1, ...spatial] = x.shape;
    const squares = one(build, 'Mul', x, x);
    const image = one(build, 'Reshape', squares, ints(build, [batch, 1, channels, sizeOf(spatial)]));
    // What lies beyond the first and the last channel counts as zeros: the divisor is always `size`.
    const [mean] = build.node('AveragePool', [image], {
      kernel_shape: [size, 1],
      pads: [Math.floor((size - 1) / 2), 0, Math.ceil((size - 1) / 2), 0],
      count_include_pad: 1,
    });
    const back = one(build, 'Reshape', mean!, ints(build, x.shape));
    const scaled = one(build, 'Mul', back, numberLike(build, x, floatAttribute(node, 'alpha', 1e-4)));
    const base = one(build, 'Add', scaled, numberLike(build, x, floatAttribute(node, 'bias', 1)));
    const power = one(build, 'Pow', base, numberLike(build, x, floatAttribute(node, 'beta', 0.75)));
    return [one(build, 'Div', x, power)];
  },
};

export const compositeNormalizationOps: OpTable = {
  BatchNormalization: batchNormalization,
  LpNormalization: lpNormalization,
  MeanVarianceNormalization: meanVarianceNormalization,
  LRN: localResponseNormalization,
};
