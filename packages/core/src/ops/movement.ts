import { ShapeError } from '../errors.ts';
import type { Node, Value } from '../graph/graph.ts';
import { concat, concatPieces } from '../kernels/movement/concat.ts';
import { indexedKernel } from '../kernels/movement/indexed.ts';
import triluSource from '../kernels/movement/trilu.wgsl';
import { isProcessor } from '../plan/capabilities.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { TensorView } from '../plan/plan.ts';
import { denseOrder, reshapeView, rowMajor, sliceView, transposeView, type Order } from '../plan/view.ts';
import { equalShapes, formatShape, normalizeAxis, sizeOf, type Shape } from '../tensor/shape.ts';
import type { Build, OpDefinition, OpTable } from './op.ts';
import {
  describe,
  hasOperand,
  intAttribute,
  intsAttribute,
  intsOperand,
  intsOperandOrAttribute,
  operand,
  stringAttribute,
} from './operands.ts';
import { pad } from './pad.ts';
import { forEachIndex, readView, rowMajorView, viewing } from './views.ts';

/** Throws unless `condition`: what is wrong with a node's shapes or attributes. */
function check(condition: boolean, node: Node, expected: string, actual: string | Shape): void {
  if (condition) return;
  throw new ShapeError(describe(node), {
    expected,
    actual: typeof actual === 'string' ? actual : formatShape(actual),
  });
}

const transpose = viewing((node, x) => {
  const reversed = rowMajor(x.shape.length).reverse();
  const perm = intsAttribute(node, 'perm', reversed);
  const sorted = perm.toSorted((a, b) => a - b);
  check(equalShapes(sorted, rowMajor(x.shape.length)), node, `perm to order ${x.shape.length} axes`, perm);
  return [transposeView(x, perm)];
});

/** Starts, ends, axes and steps are operands since opset 10, attributes before. */
const slice = viewing((node, x) => {
  const rank = x.shape.length;
  const given = intsOperandOrAttribute(node, 1, 'starts') ?? [];
  const ends = intsOperandOrAttribute(node, 2, 'ends') ?? [];
  const axes = intsOperandOrAttribute(node, 3, 'axes') ?? rowMajor(given.length);
  const givenSteps = hasOperand(node, 4) ? intsOperand(node, 4) : given.map(() => 1);
  check(
    ends.length === given.length && axes.length === given.length && givenSteps.length === given.length,
    node,
    'as many starts, ends, axes and steps',
    [given.length, ends.length, axes.length, givenSteps.length],
  );
  const starts = x.shape.map(() => 0);
  const steps = x.shape.map(() => 1);
  const sizes = x.shape.slice();
  axes.forEach((axis, k) => {
    const a = normalizeAxis(axis, rank, describe(node));
    const dim = x.shape[a]!;
    const step = givenSteps[k]!;
    check(step !== 0, node, 'steps that are not 0', givenSteps);
    const wrap = (index: number): number => (index < 0 ? index + dim : index);
    const clamp = (index: number, low: number, high: number): number => Math.min(Math.max(index, low), high);
    const [start, end] =
      step > 0
        ? [clamp(wrap(given[k]!), 0, dim), clamp(wrap(ends[k]!), 0, dim)]
        : [clamp(wrap(given[k]!), 0, dim - 1), clamp(wrap(ends[k]!), -1, dim - 1)];
    starts[a] = start;
    steps[a] = step;
    sizes[a] = Math.max(Math.ceil((end - start) / step), 0);
  });
  return [sliceView(x, starts, steps, sizes)];
});

/** Sizes are an operand since opset 13, an attribute before; without them the parts are equal but the last. */
const split = viewing((node, x) => {
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), x.shape.length, describe(node));
  const dim = x.shape[axis]!;
  const sizes = intsOperandOrAttribute(node, 1, 'split') ?? equalParts(node, dim);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  check(total === dim && sizes.every((size) => size >= 0), node, `sizes that sum to ${dim}`, sizes);
  let start = 0;
  return sizes.map((size) => {
    const at = (value: number, rest: number): number[] => x.shape.map((_, a) => (a === axis ? value : rest));
    const part = x.shape.map((d, a) => (a === axis ? size : d));
    const view = sliceView(x, at(start, 0), at(1, 1), part);
    start += size;
    return view;
  });
});

function equalParts(node: Node, dim: number): number[] {
  const count = intAttribute(node, 'num_outputs') ?? node.outputs.length;
  const most = Math.max(dim, node.outputs.length);
  check(count > 0 && count <= most, node, `at most ${most} parts`, [count]);
  const chunk = Math.ceil(dim / count);
  return Array.from({ length: count }, (_, k) => Math.max(Math.min(chunk, dim - k * chunk), 0));
}

function concatAxis(node: Node): number {
  const given = intAttribute(node, 'axis');
  if (given === undefined) throw new ShapeError(describe(node), { expected: 'an axis', actual: 'none' });
  return normalizeAxis(given, operand(node, 0).shape.length, describe(node));
}

/** Joins any number of views into memory that `allocate` gives, in steps where there are more than can be bound. */
function joinViews(lowering: Lowering, views: readonly TensorView[], axis: number, output: TensorView): void {
  const most = lowering.capabilities.limits.maxStorageBuffersPerShaderStage - 1;
  let parts = views.filter((view) => sizeOf(view.shape) > 0);
  // What several dispatches write, all of them write in one phase.
  const together = new Set(parts.map((view) => lowering.phase(view))).size === 1;
  const pieces =
    together && isProcessor(lowering.capabilities) ? concatPieces(parts, axis, output) : undefined;
  if (pieces) {
    for (const piece of pieces) lowering.dispatch(piece);
    return;
  }
  const order = denseOrder(output)!;
  while (parts.length > most) {
    const groups: TensorView[] = [];
    for (let k = 0; k < parts.length; k += most) {
      const group = parts.slice(k, k + most);
      const dim = group.reduce((sum, view) => sum + view.shape[axis]!, 0);
      const shape = output.shape.map((d, a) => (a === axis ? dim : d));
      const memory = lowering.scratch(
        `part${k}`,
        order.map((a) => shape[a]!),
        output.storage,
      );
      const joined = transposeView(memory, inverse(order));
      lowering.dispatch(concat(group, axis, joined));
      groups.push(joined);
    }
    parts = groups;
  }
  if (parts.length > 0) lowering.dispatch(concat(parts, axis, output));
}

function inverse(order: Order): number[] {
  return order.map((_, axis) => order.indexOf(axis));
}

const concatenate: OpDefinition = {
  infer(node) {
    const axis = concatAxis(node);
    const first = operand(node, 0);
    let dim = 0;
    node.inputs.forEach((_, index) => {
      const { shape, dtype } = operand(node, index);
      const fits =
        shape.length === first.shape.length && shape.every((d, a) => a === axis || d === first.shape[a]);
      check(fits, node, `${formatShape(first.shape)} but for axis ${axis}`, shape);
      check(dtype === first.dtype, node, first.dtype, dtype);
      dim += shape[axis]!;
    });
    return [{ dtype: first.dtype, shape: first.shape.map((d, a) => (a === axis ? dim : d)) }];
  },
  fold(node, inputs) {
    const axis = concatAxis(node);
    const { shape } = node.outputs[0]!;
    const data = new Float64Array(sizeOf(shape));
    const inner = sizeOf(shape.slice(axis + 1));
    const row = shape[axis]! * inner;
    let start = 0;
    for (const part of inputs) {
      const length = part!.shape[axis]! * inner;
      for (let outer = 0; outer * length < part!.data.length; outer++) {
        data.set(part!.data.subarray(outer * length, (outer + 1) * length), outer * row + start);
      }
      start += length;
    }
    return [data];
  },
  lower(node, lowering) {
    const axis = concatAxis(node);
    const [result] = node.outputs;
    const views = node.inputs.map((value) => lowering.view(value!)).filter((view) => sizeOf(view.shape) > 0);
    if (views.length === 1) {
      lowering.alias(result!, views[0]!);
      return;
    }
    const largest = views.toSorted((a, b) => sizeOf(b.shape) - sizeOf(a.shape))[0];
    const order = (largest && denseOrder(largest)) ?? rowMajor(result!.shape.length);
    joinViews(lowering, views, axis, lowering.allocate(result!, { order }));
    lowering.joined(result!, views, axis);
  },
};

/** A tensor repeated along its axes, as a view of twice the rank: [repeats, dim, …]. */
function tiledView(x: TensorView, repeats: readonly number[]): TensorView {
  return {
    ...x,
    shape: x.shape.flatMap((dim, axis) => [repeats[axis]!, dim]),
    strides: x.strides.flatMap((stride) => [0, stride]),
  };
}

const tile: OpDefinition = {
  infer(node) {
    const x = operand(node, 0);
    const repeats = intsOperand(node, 1);
    const fits = repeats.length === x.shape.length && repeats.every((count) => count >= 0);
    check(fits, node, `${x.shape.length} repeats`, repeats);
    return [{ dtype: x.dtype, shape: x.shape.map((dim, axis) => dim * repeats[axis]!) }];
  },
  fold: (node, [x]) => [readView(x!.data, tiledView(rowMajorView(x!), intsOperand(node, 1)))],
  lower(node, lowering) {
    const [result] = node.outputs;
    const tiled = tiledView(lowering.view(operand(node, 0)), intsOperand(node, 1));
    const order = rowMajor(tiled.shape.length);
    const view =
      reshapeView(tiled, result!.shape) ?? reshapeView(lowering.materialize(tiled, { order }), result!.shape);
    lowering.alias(result!, view!);
  },
};

const trilu: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    check(shape.length >= 2, node, 'at least two axes', shape);
    return [{ dtype, shape }];
  },
  fold(node, [x, k]) {
    const upper = intAttribute(node, 'upper', 1) !== 0;
    const diagonal = k?.data[0] ?? 0;
    const data = x!.data.slice();
    forEachIndex(x!.shape, (at, i) => {
      const distance = at.at(-1)! - at.at(-2)!;
      if (upper ? distance < diagonal : distance > diagonal) data[i] = 0;
    });
    return [data];
  },
  lower(node, lowering) {
    const x = lowering.view(operand(node, 0));
    const output = lowering.allocate(node.outputs[0]!);
    const k = hasOperand(node, 1) ? lowering.view(operand(node, 1)) : undefined;
    const diagonal = k ? 'i32(k_at(k_Index()))' : '0';
    lowering.dispatch(
      indexedKernel({
        name: `trilu_${output.storage}`,
        output,
        inputs: { x, ...(k && { k }) },
        constants: { UPPER: intAttribute(node, 'upper', 1) !== 0 },
        body: `fn diagonal() -> i32 { return ${diagonal}; }\n${triluSource}`,
      }),
    );
  },
};

/** Splits, permutes and joins axes: a reshape, a transpose, a reshape. */
function shuffle(build: Build, x: Value, split: Shape, perm: readonly number[], joined: Shape): Value[] {
  const shapeOf = (shape: Shape): Value => build.constant(shape, [shape.length], 'int64');
  const [parts] = build.node('Reshape', [x, shapeOf(split)]);
  const [moved] = build.node('Transpose', [parts], { perm });
  return build.node('Reshape', [moved, shapeOf(joined)]);
}

/** Block size of DepthToSpace and SpaceToDepth, and whether channels come before the block's positions. */
function blocks(node: Node): {
  size: number;
  channelsFirst: boolean;
  dims: [number, number, number, number];
} {
  const { shape } = operand(node, 0);
  const size = intAttribute(node, 'blocksize', 1);
  const mode = stringAttribute(node, 'mode', 'DCR');
  check(shape.length === 4, node, '[batch, channels, height, width]', shape);
  check(size > 0, node, 'a positive blocksize', String(size));
  check(mode === 'DCR' || mode === 'CRD', node, `mode to be 'DCR' or 'CRD'`, mode);
  return { size, channelsFirst: mode === 'CRD', dims: shape as [number, number, number, number] };
}

const depthToSpace: OpDefinition = {
  infer(node) {
    const { size, dims } = blocks(node);
    const [batch, channels, height, width] = dims;
    check(channels % size ** 2 === 0, node, `channels divisible by ${size ** 2}`, dims);
    return [
      { dtype: operand(node, 0).dtype, shape: [batch, channels / size ** 2, height * size, width * size] },
    ];
  },
  expand(node, build) {
    const { size, channelsFirst, dims } = blocks(node);
    const [batch, channels, height, width] = dims;
    const depth = channels / size ** 2;
    const split = channelsFirst ? [depth, size, size] : [size, size, depth];
    const perm = channelsFirst ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2];
    return shuffle(build, operand(node, 0), [batch, ...split, height, width], perm, node.outputs[0]!.shape);
  },
};

const spaceToDepth: OpDefinition = {
  infer(node) {
    const { size, dims } = blocks(node);
    const [batch, channels, height, width] = dims;
    check(height % size === 0 && width % size === 0, node, `a picture of whole ${size}-blocks`, dims);
    return [
      { dtype: operand(node, 0).dtype, shape: [batch, channels * size ** 2, height / size, width / size] },
    ];
  },
  expand(node, build) {
    const { size, channelsFirst, dims } = blocks(node);
    const [batch, channels, height, width] = dims;
    const split = [batch, channels, height / size, size, width / size, size];
    const perm = channelsFirst ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4];
    return shuffle(build, operand(node, 0), split, perm, node.outputs[0]!.shape);
  },
};

/** Operators that move elements. Whatever strides can say is a view. */
export const movementOps: OpTable = {
  Concat: concatenate,
  DepthToSpace: depthToSpace,
  Pad: pad,
  Slice: slice,
  SpaceToDepth: spaceToDepth,
  Split: split,
  Tile: tile,
  Transpose: transpose,
  Trilu: trilu,
};
