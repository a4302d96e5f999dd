import { ShapeError } from '../errors.ts';
import { OWN_DOMAIN, type Node, type Value } from '../graph/graph.ts';
import { equalShapes, formatShape } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable, TensorType } from './op.ts';
import { describe, floatAttribute, hasOperand, intAttribute, operand } from './operands.ts';

// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

const typeOf = ({ dtype, shape }: Value): TensorType => ({ dtype, shape });

/** Statistics by row, in float32 whatever the operands are. */
const rowStatistic = (x: Value): TensorType => ({ dtype: 'float32', shape: [...x.shape.slice(0, -1), 1] });

/**
 * Skip(Simplified)LayerNormalization: the sum of input, skip and a bias, normalized by row. Gives the normalized sum,
 * statistics by row, and the sum itself.
 *
 * @param center whether the mean is subtracted; the simplified form only divides by the root mean square
 */
function skipLayerNormalization(center: boolean): OpDefinition {
  const biasIndex = center ? 4 : 3;
  return {
    infer(node) {
      const x = operand(node, 0);
      return [typeOf(x), rowStatistic(x), rowStatistic(x), typeOf(x)];
    },
    expand(node, build) {
      const c = new Compose(build);
      const x = operand(node, 0);
      const added = c.add(x, operand(node, 1));
      const sum = hasOperand(node, biasIndex) ? c.add(added, operand(node, biasIndex)) : added;
      const epsilon = floatAttribute(node, 'epsilon', 1e-12);
      const attributes = { axis: -1, epsilon };
      const y = center
        ? c.op('LayerNormalization', [sum, operand(node, 2), node.inputs[3]], attributes)
        : c.op('RMSNormalization', [sum, operand(node, 2)], attributes);
      if (node.outputs.length === 1) return [y];
      // Rarely wanted, and dropped as dead code where nobody reads them.
      const wide = c.cast(sum, 'float32');
      const mean = c.op('ReduceMean', [wide, c.ints([-1])]);
      const centred = center ? c.sub(wide, mean) : wide;
      const variance = c.op('ReduceMean', [c.mul(centred, centred), c.ints([-1])]);
      const deviation = c.op('Sqrt', [c.add(variance, c.scalar(epsilon, 'float32'))]);
      return [y, mean, c.op('Reciprocal', [deviation]), sum];
    },
  };
}

/** (Skip)GroupNorm's activation: none or SiLU. */
function activate(c: Compose, x: Value, node: Node): Value {
  const activation = intAttribute(node, 'activation', 0);
  if (activation !== 0 && activation !== 1) {
    throw new ShapeError(describe(node), { expected: 'activation to be 0 or 1', actual: String(activation) });
  }
  return activation === 0 ? x : c.mul(x, c.op('Sigmoid', [x]));
}

/** x of [N, …, C] or, where `channels_last` is 0, [N, C, …]; scale and bias of [C]. */
function normalizeGroups(c: Compose, x: Value, node: Node): Value {
  const last = intAttribute(node, 'channels_last', 1) !== 0;
  const attributes = {
    groups: intAttribute(node, 'groups', 32),
    epsilon: floatAttribute(node, 'epsilon', 1e-5),
  };
  const inputs = [last ? c.channelsFirst(x) : x, operand(node, 1), operand(node, 2)];
  const y = activate(c, c.op('GroupNorm', inputs, attributes, OWN_DOMAIN), node);
  return last ? c.channelsLast(y) : y;
}

const groupNorm: OpDefinition = {
  infer: (node) => [typeOf(operand(node, 0))],
  expand: (node, build) => [normalizeGroups(new Compose(build), operand(node, 0), node)],
};

/** What is added for each channel: [C] or [N, C] as a shape that broadcasts to x, anything else as it is. */
function byChannel(c: Compose, value: Value, x: Value, last: boolean): Value {
  const [batch, channels] = [x.shape[0]!, last ? x.shape.at(-1)! : x.shape[1]!];
  const spatial = x.shape.slice(2).map(() => 1);
  const wide = (n: number): number[] => (last ? [n, ...spatial, channels] : [n, channels, ...spatial]);
  if (equalShapes(value.shape, [channels])) return c.reshape(value, wide(1));
  if (equalShapes(value.shape, [batch, channels])) return c.reshape(value, wide(batch));
  return value;
}

/** The sum of x, skip and a bias, normalized by group; and the sum. */
const skipGroupNorm: OpDefinition = {
  infer(node) {
    const x = operand(node, 0);
    if (x.shape.length < 3) {
      throw new ShapeError(describe(node), { expected: 'a picture', actual: formatShape(x.shape) });
    }
    return [typeOf(x), typeOf(x)];
  },
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const last = intAttribute(node, 'channels_last', 1) !== 0;
    let sum = c.add(x, byChannel(c, operand(node, 3), x, last));
    if (hasOperand(node, 4)) sum = c.add(sum, byChannel(c, operand(node, 4), x, last));
    return [normalizeGroups(c, sum, node), sum];
  },
};

/** Sum of word, position and segment embeddings, normalized; the number of unmasked tokens; the sum. */
const embedLayerNormalization: OpDefinition = {
  infer(node) {
    const ids = operand(node, 0);
    const words = operand(node, 2);
    const y: TensorType = { dtype: words.dtype, shape: [...ids.shape, words.shape[1]!] };
    return [y, { dtype: 'int32', shape: [ids.shape[0]!] }, y];
  },
  expand(node, build) {
    const c = new Compose(build);
    const ids = operand(node, 0);
    const length = ids.shape[1]!;
    const words = c.op('Gather', [operand(node, 2), ids]);
    const positions = hasOperand(node, 8)
      ? c.op('Gather', [operand(node, 3), operand(node, 8)])
      : c.slice(operand(node, 3), 0, 0, length);
    let sum = c.add(words, positions);
    if (hasOperand(node, 4) && hasOperand(node, 1)) {
      sum = c.add(sum, c.op('Gather', [operand(node, 4), operand(node, 1)]));
    }
    const attributes = { axis: -1, epsilon: floatAttribute(node, 'epsilon', 1e-12) };
    const y = c.op('LayerNormalization', [sum, operand(node, 5), operand(node, 6)], attributes);
    const counted = hasOperand(node, 7)
      ? c.op('ReduceSum', [c.cast(operand(node, 7), 'int32'), c.ints([1])], { keepdims: 0 })
      : c.build.constant(new Array<number>(ids.shape[0]!).fill(0), [ids.shape[0]!], 'int32');
    return [y, counted, sum];
  },
};

/** Normalizations of the domain com.microsoft. */
export const contribNormalizationOps: OpTable = {
  EmbedLayerNormalization: embedLayerNormalization,
  GroupNorm: groupNorm,
  SkipGroupNorm: skipGroupNorm,
  SkipLayerNormalization: skipLayerNormalization(true),
  SkipSimplifiedLayerNormalization: skipLayerNormalization(false),
};
