import oneHotSource from '../kernels/gather/one-hot.wgsl';
import { indexedKernel } from '../kernels/movement/indexed.ts';
import { u32 } from '../kernels/shader.ts';
import type { Node } from '../graph/graph.ts';
import { normalizeAxis, sizeOf, stridesOf } from '../tensor/shape.ts';
import { axisOf } from './gather.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { constantOperand, describe, intAttribute, operand, scalarOperand } from './operands.ts';
import { forEachIndex } from './views.ts';

/** The new axis of OneHot and its size. */
function oneHotAxis(node: Node): { axis: number; depth: number } {
  const rank = operand(node, 0).shape.length + 1;
  return {
    axis: normalizeAxis(intAttribute(node, 'axis', -1), rank, describe(node)),
    depth: Math.trunc(scalarOperand(node, 1)),
  };
}

const oneHot: OpDefinition = {
  infer(node) {
    const { axis, depth } = oneHotAxis(node);
    return [{ dtype: operand(node, 2).dtype, shape: operand(node, 0).shape.toSpliced(axis, 0, depth) }];
  },
  fold(node, [indices, , values]) {
    const { axis, depth } = oneHotAxis(node);
    const { shape } = node.outputs[0]!;
    const strides = stridesOf(indices!.shape).toSpliced(axis, 0, 0);
    const data = new Float64Array(sizeOf(shape));
    forEachIndex(shape, (at, i) => {
      const index = indices!.data[at.reduce((sum, c, a) => sum + c * strides[a]!, 0)]!;
      data[i] = values!.data[(index < 0 ? index + depth : index) === at[axis] ? 1 : 0]!;
    });
    return [data];
  },
  lower(node, lowering) {
    const { axis, depth } = oneHotAxis(node);
    const output = lowering.allocate(node.outputs[0]!);
    lowering.dispatch(
      indexedKernel({
        name: `one_hot_${output.storage}`,
        output,
        inputs: { indices: lowering.view(operand(node, 0)), values: lowering.view(operand(node, 2)) },
        params: { depth: u32(depth) },
        constants: { AXIS: axis },
        body: oneHotSource,
      }),
    );
  },
};

/** Indices along the axis that Compress keeps, and the axis; without one the tensor is flattened. */
function kept(node: Node): { axis: number | undefined; indices: number[] } {
  const { data } = constantOperand(node, 1);
  const axis = node.attributes.has('axis') ? axisOf(node, 0) : undefined;
  const { shape } = operand(node, 0);
  const dim = axis === undefined ? sizeOf(shape) : shape[axis]!;
  return { axis, indices: Array.from(data.keys()).filter((k) => k < dim && data[k] !== 0) };
}

const compress: OpDefinition = {
  infer(node) {
    const { axis, indices } = kept(node);
    const { dtype, shape } = operand(node, 0);
    return [{ dtype, shape: axis === undefined ? [indices.length] : shape.with(axis, indices.length) }];
  },
  expand(node, build) {
    const { axis, indices } = kept(node);
    const x = operand(node, 0);
    const [from] = axis === undefined ? build.node('Reshape', [x, build.constant([-1], [1], 'int64')]) : [x];
    return build.node('Gather', [from, build.constant(indices, [indices.length], 'int64')], {
      axis: axis ?? 0,
    });
  },
};

/** Slices of a tensor along an axis (its elements, without one) by what they hold, as Unique tells them apart. */
function uniqueSlices(node: Node): {
  axis: number | undefined;
  first: number[];
  inverse: number[];
  counts: number[];
} {
  const { data, shape } = constantOperand(node, 0);
  const axis = node.attributes.has('axis') ? axisOf(node, 0) : undefined;
  const slices: number[][] = [];
  if (axis === undefined) for (const x of data) slices.push([x]);
  else {
    for (let k = 0; k < shape[axis]!; k++) slices.push([]);
    forEachIndex(shape, (at, i) => slices[at[axis]!]!.push(data[i]!));
  }
  const groups = new Map<string, { first: number; members: number[] }>();
  slices.forEach((slice, k) => {
    const key = slice.join();
    const group = groups.get(key);
    if (group) group.members.push(k);
    else groups.set(key, { first: k, members: [k] });
  });
  let found = [...groups.values()];
  if (intAttribute(node, 'sorted', 1) !== 0) {
    const compare = (a: readonly number[], b: readonly number[]): number =>
      a.reduce((order, x, i) => order || x - b[i]!, 0);
    found = found.toSorted((a, b) => compare(slices[a.first]!, slices[b.first]!));
  }
  const inverse = new Array<number>(slices.length);
  found.forEach(({ members }, k) => members.forEach((member) => (inverse[member] = k)));
  return {
    axis,
    first: found.map(({ first }) => first),
    inverse,
    counts: found.map(({ members }) => members.length),
  };
}

const unique: OpDefinition = {
  infer(node) {
    const { axis, first, inverse } = uniqueSlices(node);
    const { dtype, shape } = operand(node, 0);
    return [
      { dtype, shape: axis === undefined ? [first.length] : shape.with(axis, first.length) },
      { dtype: 'int64', shape: [first.length] },
      { dtype: 'int64', shape: [inverse.length] },
      { dtype: 'int64', shape: [first.length] },
    ];
  },
  fold(node, [x]) {
    const { axis, first, inverse, counts } = uniqueSlices(node);
    const flat = axis === undefined ? { ...x!, shape: [x!.data.length] } : x!;
    const values = new Float64Array(sizeOf(node.outputs[0]!.shape));
    const strides = stridesOf(flat.shape);
    forEachIndex(node.outputs[0]!.shape, (at, i) => {
      const from = at.reduce((sum, c, a) => sum + (a === (axis ?? 0) ? first[c]! : c) * strides[a]!, 0);
      values[i] = flat.data[from]!;
    });
    return [values, Float64Array.from(first), Float64Array.from(inverse), Float64Array.from(counts)];
  },
};

/** Operators that pick by index or by what elements hold, and that diffusion models seldom have. */
export const pickingOps: OpTable = { Compress: compress, OneHot: oneHot, Unique: unique };
