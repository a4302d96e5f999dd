import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import { resize } from '../kernels/resize/resize.ts';
import {
  tapsOf,
  type AxisResize,
  type CoordinateMode,
  type NearestMode,
  type Taps,
} from '../kernels/resize/taps.ts';
import { memoryOrder } from '../kernels/walk.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { TensorView } from '../plan/plan.ts';
import { rowMajor, type Order } from '../plan/view.ts';
import { isFloat } from '../tensor/dtype.ts';
import { normalizeAxis } from '../tensor/shape.ts';
import { longestList } from './unsupported.ts';
import type { OpDefinition, OpTable } from './op.ts';
import {
  describe,
  floatAttribute,
  floatsAttribute,
  intAttribute,
  intsAttribute,
  operand,
  optionalConstantOperand,
  stringAttribute,
} from './operands.ts';
import { orderedScratch } from './kernel-result.ts';

/** What a node does, in the words of the newest operator set. */
interface Settings {
  mode: string;
  coordinates: string;
  nearest: string;
  antialias: boolean;
  excludeOutside: boolean;
  cubicCoefficient: number;
  extrapolation: number;
  /** For each axis of operand 0. */
  scales: number[];
  sizes: number[];
  roi: [number, number][];
}

/** Elements of an operand, or nothing where it is absent or empty (how opset 11 says absent). */
function numbers(node: Node, index: number): number[] | undefined {
  const tensor = optionalConstantOperand(node, index);
  return tensor && tensor.data.length > 0 ? Array.from(tensor.data) : undefined;
}

const resizeSettings = (node: Node): Settings => {
  const { shape } = operand(node, 0);
  const rank = shape.length;
  const first = node.opset < 11;
  const axes = (intsAttribute(node, 'axes') ?? rowMajor(rank)).map((axis) =>
    normalizeAxis(axis, rank, describe(node)),
  );
  const scales = numbers(node, first ? 1 : 2);
  const sizes = first ? undefined : numbers(node, 3);
  const roi = first ? undefined : numbers(node, 1);
  const given = sizes ?? scales;
  if (given?.length !== axes.length) {
    throw new ShapeError(describe(node), {
      expected: `scales or sizes for ${axes.length} axes`,
      actual: given ? `${given.length} numbers` : 'neither',
    });
  }
  const settings: Settings = {
    mode: stringAttribute(node, 'mode', 'nearest'),
    coordinates: stringAttribute(node, 'coordinate_transformation_mode', first ? 'asymmetric' : 'half_pixel'),
    nearest: stringAttribute(node, 'nearest_mode', first ? 'floor' : 'round_prefer_floor'),
    antialias: intAttribute(node, 'antialias', 0) !== 0,
    excludeOutside: intAttribute(node, 'exclude_outside', 0) !== 0,
    cubicCoefficient: floatAttribute(node, 'cubic_coeff_a', -0.75),
    extrapolation: floatAttribute(node, 'extrapolation_value', 0),
    scales: shape.map(() => 1),
    sizes: [...shape],
    roi: shape.map(() => [0, 1]),
  };
  let factors = axes.map((axis, k) => (sizes ? sizes[k]! / shape[axis]! : scales![k]!));
  const policy = stringAttribute(node, 'keep_aspect_ratio_policy', 'stretch');
  const common =
    policy === 'not_larger'
      ? Math.min(...factors)
      : policy === 'not_smaller'
        ? Math.max(...factors)
        : undefined;
  const kept = sizes !== undefined && common !== undefined;
  if (kept) factors = factors.map(() => common);
  axes.forEach((axis, k) => {
    const scale = factors[k]!;
    if (!(scale > 0 || shape[axis] === 0)) {
      throw new ShapeError(describe(node), { expected: 'positive scales', actual: String(scale) });
    }
    settings.scales[axis] = scale;
    settings.sizes[axis] = kept
      ? Math.floor(scale * shape[axis]! + 0.5)
      : (sizes?.[k] ?? scaledSize(shape[axis]!, scale));
    if (roi) settings.roi[axis] = [roi[k] ?? 0, roi[axes.length + k] ?? 1];
  });
  return settings;
};

/** Scales are f32, so the product is taken in f32, as exporters and onnxruntime do: 10 elements by 0.7 are 7. */
function scaledSize(dim: number, scale: number): number {
  return Math.floor(Math.fround(dim * scale));
}

/** Upsample, opset 7 (scales as an attribute) and 9. */
const upsampleSettings = (node: Node): Settings => {
  const { shape } = operand(node, 0);
  const scales = numbers(node, 1) ?? floatsAttribute(node, 'scales', []);
  if (scales.length !== shape.length) {
    throw new ShapeError(describe(node), {
      expected: `scales for ${shape.length} axes`,
      actual: `${scales.length} numbers`,
    });
  }
  return {
    mode: stringAttribute(node, 'mode', 'nearest'),
    coordinates: 'asymmetric',
    nearest: 'floor',
    antialias: false,
    excludeOutside: false,
    cubicCoefficient: -0.75,
    extrapolation: 0,
    scales,
    sizes: shape.map((dim, axis) => scaledSize(dim, scales[axis]!)),
    roi: shape.map(() => [0, 1]),
  };
};

const coordinateModes: readonly string[] = [
  'half_pixel', 'half_pixel_symmetric', 'pytorch_half_pixel', 'align_corners', 'asymmetric', 'tf_crop_and_resize',
] satisfies CoordinateMode[]; // prettier-ignore
const nearestModes: readonly string[] = [
  'round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil',
] satisfies NearestMode[]; // prettier-ignore

function refusal(node: Node, { mode, coordinates, nearest, sizes }: Settings): string | undefined {
  if (!['nearest', 'linear', 'cubic'].includes(mode)) return `mode '${mode}' is not known`;
  if (!coordinateModes.includes(coordinates)) return `coordinate mode '${coordinates}' is not known`;
  if (!nearestModes.includes(nearest)) return `nearest mode '${nearest}' is not known`;
  const { dtype } = operand(node, 0);
  if (mode !== 'nearest' && !isFloat(dtype)) return `${mode} interpolation of ${dtype} is not implemented`;
  const longest = Math.max(...sizes);
  if (longest > longestList) return `an axis of ${longest} elements is too long`;
  return dtype === 'string' ? 'strings are not on the GPU' : undefined;
}

/** Taps of every axis that changes. */
function changedAxes(node: Node, settings: Settings): Map<number, Taps> {
  const { shape } = operand(node, 0);
  const axes = new Map<number, Taps>();
  shape.forEach((from, axis) => {
    const to = settings.sizes[axis]!;
    const scale = settings.scales[axis]!;
    const [start, end] = settings.roi[axis]!;
    const cropped = settings.coordinates === 'tf_crop_and_resize' && (start !== 0 || end !== 1);
    if (from === to && scale === 1 && !cropped) return;
    const { mode, coordinates, nearest, antialias, excludeOutside, cubicCoefficient } = settings;
    const resized = { mode, coordinates, nearest, antialias, excludeOutside, cubicCoefficient } as AxisResize;
    axes.set(axis, tapsOf({ ...resized, from, to, scale, roi: [start, end] }));
  });
  return axes;
}

/** Reads for one element above which axes are resized one after the other, through f32. */
const MOST_TAPS = 16;

function resizing(settingsOf: (node: Node) => Settings): OpDefinition {
  return {
    acceptsEpilogue: true,
    infer: (node) => [{ dtype: operand(node, 0).dtype, shape: settingsOf(node).sizes }],
    refuse: (node) => refusal(node, settingsOf(node)),
    lower(node, lowering) {
      const settings = settingsOf(node);
      const [output] = node.outputs;
      const view = lowering.view(operand(node, 0));
      const axes = changedAxes(node, settings);
      const epilogue = lowering.epilogue(node);
      if (axes.size === 0 && !epilogue) {
        lowering.alias(output!, view);
        return;
      }
      const order = memoryOrder(view);
      let x = view;
      let reads = [...axes.values()].reduce((product, { taps }) => product * taps, 1);
      const rest = new Map(axes);
      for (const [axis, taps] of axes) {
        if (reads <= MOST_TAPS || rest.size === 1) break;
        x = resizeOne(lowering, x, axis, taps, order, settings.extrapolation);
        rest.delete(axis);
        reads /= taps.taps;
      }
      const y = lowering.allocate(output!, { order });
      resize(lowering, { x, y, axes: rest, extrapolation: settings.extrapolation, epilogue });
    },
  };
}

function resizeOne(
  lowering: Lowering,
  x: TensorView,
  axis: number,
  taps: Taps,
  order: Order,
  extrapolation: number,
): TensorView {
  const shape = x.shape.map((dim, other) => (other === axis ? taps.indices.length / taps.taps : dim));
  const y = orderedScratch(lowering, 'axis', shape, order);
  resize(lowering, { x, y, axes: new Map([[axis, taps]]), extrapolation, epilogue: undefined });
  return y;
}

export const resizeOps: OpTable = {
  Resize: resizing(resizeSettings),
  Upsample: resizing(upsampleSettings),
};
