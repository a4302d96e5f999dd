import { ShapeError } from '../errors.ts';
import { OWN_DOMAIN, type Node, type Value } from '../graph/graph.ts';
import { groupNorm, isVectorized } from '../kernels/group-norm/group-norm.ts';
import { layerNorm } from '../kernels/layer-norm/layer-norm.ts';
import { contiguousRows, hasVectorRows, type Rows } from '../kernels/rows.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { Pair } from '../plan/joins.ts';
import type { TensorView } from '../plan/plan.ts';
import { channelsLast, isDense, rowMajor } from '../plan/view.ts';
import { broadcastShapes, equalShapes, formatShape, normalizeAxis, sizeOf } from '../tensor/shape.ts';
import { affineEpilogue, alongChannels, broadcastViews, rowAffine } from './affine.ts';
import type { OpDefinition, OpTable, TensorType } from './op.ts';
import { describe, floatAttribute, intAttribute, operand } from './operands.ts';
import { kernelResult } from './kernel-result.ts';

/** Type of operand 0. */
const likeInput = (node: Node): TensorType => {
  const { dtype, shape } = operand(node, 0);
  return { dtype, shape };
};

/** Checks [N, C, …] and the operands that have one element for each channel; gives C. */
function checkChannels(node: Node, perChannel: readonly number[], channels?: number): number {
  const { shape } = operand(node, 0);
  if (shape.length < 2) {
    throw new ShapeError(describe(node), { expected: 'at least [N, C]', actual: formatShape(shape) });
  }
  const expected = [channels ?? shape[1]!];
  for (const index of perChannel) {
    const value = node.inputs[index];
    if (value && !equalShapes(value.shape, expected)) {
      throw new ShapeError(describe(node), {
        expected: `operand ${index} of shape ${formatShape(expected)}`,
        actual: formatShape(value.shape),
      });
    }
  }
  return shape[1]!;
}

function checkGroups(node: Node, groups: number): void {
  const channels = operand(node, 0).shape[1]!;
  if (groups < 1 || channels % groups !== 0) {
    throw new ShapeError(describe(node), {
      expected: `a number of groups that divides ${channels} channels`,
      actual: String(groups),
    });
  }
}

/** Takes x in channels-last order and gives the result so. Scale and bias are operands 1 and 2. */
function lowerGroupNorm(node: Node, lowering: Lowering, groups: number, epsilon: number): void {
  const value = operand(node, 0);
  const [batch = 1, channels = 1, ...spatial] = value.shape;
  const order = channelsLast(value.shape.length);
  const shape = { batch, channels, positions: sizeOf(spatial), groups };
  const vector = isVectorized(lowering, shape);
  const pair = vector ? pairOf(node, lowering) : undefined;
  const task = {
    ...shape,
    x: pair ? lowering.view(value) : lowering.dense(value, order),
    pair,
    scale: node.inputs[1] && lowering.dense(node.inputs[1]),
    bias: node.inputs[2] && lowering.dense(node.inputs[2]),
    epsilon,
  };
  const options = { order, vector, bindings: pair ? PAIR_BINDINGS : BINDINGS };
  kernelResult(node, lowering, options, (y, epilogue) => groupNorm(lowering, { ...task, epilogue, y }));
}

/** Of a GroupNorm beside its epilogue's operands: x, partial statistics, scale, bias, y. */
const BINDINGS = 5;
const PAIR_BINDINGS = BINDINGS + 1;

/** The two tensors that make up the channels of x, where they are bound without a dispatch more. */
function pairOf(node: Node, lowering: Lowering): Pair | undefined {
  const view = lowering.view(operand(node, 0));
  const bindings = PAIR_BINDINGS + (node.epilogue?.inputs.length ?? 0);
  if (bindings > lowering.capabilities.limits.maxStorageBuffersPerShaderStage) return undefined;
  return isDense(view, channelsLast(view.shape.length)) ? lowering.pair(view) : undefined;
}

/**
 * GroupNorm: x [N, C, …], scale [C], bias [C], the last two optional; attributes `groups`, `epsilon`. What passes make
 * of every group normalization, for an epilogue to finish.
 */
const groupNormOp: OpDefinition = {
  acceptsEpilogue: true,
  infer(node) {
    checkChannels(node, [1, 2]);
    checkGroups(node, intAttribute(node, 'groups', 1));
    return [likeInput(node)];
  },
  lower: (node, lowering) =>
    lowerGroupNorm(node, lowering, intAttribute(node, 'groups', 1), floatAttribute(node, 'epsilon', 1e-5)),
};

/** Opset 18 has scale and bias by group, 21 by channel. */
const groupNormalization: OpDefinition = {
  infer(node) {
    const groups = intAttribute(node, 'num_groups', 1);
    checkChannels(node, [1, 2], node.opset < 21 ? groups : undefined);
    checkGroups(node, groups);
    return [likeInput(node)];
  },
  expand(node, build) {
    const x = operand(node, 0);
    const groups = intAttribute(node, 'num_groups', 1);
    const groupChannels = x.shape[1]! / groups;
    const byChannel = (value: Value): Value => {
      if (node.opset >= 21) return value;
      const ints = (...data: number[]): Value => build.constant(data, [data.length], 'int64');
      const [column] = build.node('Reshape', [value, ints(groups, 1)]);
      const [wide] = build.node('Expand', [column, ints(groups, groupChannels)]);
      return build.node('Reshape', [wide, ints(groups * groupChannels)])[0]!;
    };
    return build.node(
      'GroupNorm',
      [x, byChannel(operand(node, 1)), byChannel(operand(node, 2))],
      { groups, epsilon: floatAttribute(node, 'epsilon', 1e-5) },
      { domain: OWN_DOMAIN },
    );
  },
};

/** One mean and variance for each sample and channel. Row-major operands are taken as rows, without a transposition. */
const instanceNormalization: OpDefinition = {
  acceptsEpilogue: true,
  infer(node) {
    checkChannels(node, [1, 2]);
    return [likeInput(node)];
  },
  lower(node, lowering) {
    const value = operand(node, 0);
    const rank = value.shape.length;
    const epsilon = floatAttribute(node, 'epsilon', 1e-5);
    const view = lowering.view(value);
    if (isDense(view, channelsLast(rank)) || !isDense(view)) {
      lowerGroupNorm(node, lowering, value.shape[1]!, epsilon);
      return;
    }
    const x = contiguousRows(view, rowMajor(rank).slice(2))!;
    const [scale, bias] = [1, 2].map((index) => alongChannels(lowering.dense(operand(node, index)), rank));
    const epilogue = affineEpilogue(scale, bias, lowering.epilogue(node));
    const task = { x, epsilon, center: true, scale: undefined, bias: undefined };
    const options = { order: rowMajor(rank), vector: hasVectorRows(x), bindings: 2, epilogue };
    kernelResult(node, lowering, options, (y, rest) => layerNorm(lowering, { ...task, epilogue: rest, y }));
  },
};

interface RowNormForm {
  center: boolean;
  /** Types of the outputs after the first: statistics by row. */
  statistics: ('mean' | 'inverseDeviation')[];
  /** The result has the dtype of the scale rather than of x. */
  scaleType?: boolean;
}

function rowAxis(node: Node): number {
  return normalizeAxis(intAttribute(node, 'axis', -1), operand(node, 0).shape.length, describe(node));
}

/** x, scale and bias (both broadcast to x); attributes `axis`, from which on the axes are normalized, and `epsilon`. */
function rowNorm(form: RowNormForm): OpDefinition {
  return {
    acceptsEpilogue: true,
    infer(node) {
      const { dtype, shape } = operand(node, 0);
      const axis = rowAxis(node);
      for (const index of [1, 2]) {
        const value = node.inputs[index];
        if (value && !equalShapes(broadcastShapes([shape, value.shape], describe(node)), shape)) {
          throw new ShapeError(describe(node), {
            expected: `operand ${index} to broadcast to ${formatShape(shape)}`,
            actual: formatShape(value.shape),
          });
        }
      }
      const statistic: TensorType = { dtype: 'float32', shape: shape.map((dim, k) => (k < axis ? dim : 1)) };
      const scale = node.inputs[1];
      return [
        { dtype: form.scaleType && scale ? scale.dtype : dtype, shape },
        ...form.statistics.map(() => statistic),
      ];
    },
    lower(node, lowering) {
      lowerRowNorm(node, lowering, form);
    },
  };
}

function lowerRowNorm(node: Node, lowering: Lowering, form: RowNormForm): void {
  const value = operand(node, 0);
  const axis = rowAxis(node);
  const [, scale, bias] = node.inputs;
  const inner = rowMajor(value.shape.length).slice(axis);
  const x: Rows =
    contiguousRows(lowering.view(value), inner) ?? contiguousRows(lowering.dense(value), inner)!;
  const order = [...x.outer, ...x.inner];
  const affine = rowAffine(lowering, scale, bias, value.shape.slice(axis));
  const epilogue = affine
    ? lowering.epilogue(node)
    : affineEpilogue(...broadcastPair(lowering, scale, bias, value.shape), lowering.epilogue(node));
  const statistics: { mean?: TensorView; inverseDeviation?: TensorView } = {};
  form.statistics.forEach((name, index) => {
    const output = node.outputs[1 + index];
    if (output) statistics[name] = lowering.allocate(output, { order, storage: 'f32' });
  });
  const task = {
    x,
    scale: affine?.scale,
    bias: affine?.bias,
    epsilon: floatAttribute(node, 'epsilon', 1e-5),
    center: form.center,
    ...statistics,
  };
  const bindings = 4 + Object.keys(statistics).length;
  const options = { order, vector: hasVectorRows(x), bindings, epilogue };
  kernelResult(node, lowering, options, (y, rest) => layerNorm(lowering, { ...task, epilogue: rest, y }));
}

function broadcastPair(
  lowering: Lowering,
  scale: Value | undefined,
  bias: Value | undefined,
  shape: readonly number[],
): [TensorView | undefined, TensorView | undefined] {
  const [first, second] = broadcastViews(lowering, [scale, bias], shape);
  return [first, second];
}

export const normalizationOps: OpTable = {
  GroupNormalization: groupNormalization,
  InstanceNormalization: instanceNormalization,
  LayerNormalization: rowNorm({ center: true, statistics: ['mean', 'inverseDeviation'] }),
  RMSNormalization: rowNorm({ center: false, statistics: [], scaleType: true }),
  // onnxruntime's optimizer writes it into ONNX's own domain.
  SimplifiedLayerNormalization: rowNorm({ center: false, statistics: ['inverseDeviation'], scaleType: true }),
};

/** Operators of our own domain. */
export const ownNormalizationOps: OpTable = { GroupNorm: groupNormOp };
