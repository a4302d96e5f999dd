import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import { formatShape, normalizeAxis, sizeOf } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, intAttribute, intsAttribute, intsOperand, operand } from './operands.ts';

// Rare operators that move elements, written out in common ones.

/** Reverses the first `sequence_lens[b]` elements of each sequence `b`. */
const reverseSequence: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    const [batch, time] = sequenceAxes(node);
    const lengths = operand(node, 1).shape;
    if (batch === time || lengths.length !== 1 || lengths[0] !== shape[batch]) {
      throw new ShapeError(describe(node), {
        expected: `two different axes and ${shape[batch]} lengths`,
        actual: `axes ${batch} and ${time} and lengths ${formatShape(lengths)}`,
      });
    }
    return [{ dtype, shape }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const [batch, time] = sequenceAxes(node);
    const along = (axis: number): number[] => x.shape.map((dim, k) => (k === axis ? dim : 1));
    const steps = build.constant([...Array(x.shape[time]).keys()], along(time), 'int64');
    const lengths = c.reshape(c.cast(operand(node, 1), 'int64'), along(batch));
    const reversed = c.sub(c.sub(lengths, c.scalar(1, 'int64')), steps);
    const from = c.op('Where', [c.op('Less', [steps, lengths]), reversed, steps]);
    const everywhere = c.op('Expand', [from, c.ints(x.shape)]);
    return [c.op('GatherElements', [x, everywhere], { axis: time })];
  },
};

function sequenceAxes(node: Node): [batch: number, time: number] {
  const rank = operand(node, 0).shape.length;
  const axis = (name: string, missing: number): number =>
    normalizeAxis(intAttribute(node, name, missing), rank, describe(node));
  return [axis('batch_axis', 1), axis('time_axis', 0)];
}

/** Cuts from or adds zeros to both ends of the axes, so that they have the wanted sizes. */
const centerCropPad: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    const wanted = centredSizes(node);
    return [{ dtype, shape: shape.map((dim, axis) => wanted.get(axis) ?? dim) }];
  },
  expand(node, build) {
    const c = new Compose(build);
    let x = operand(node, 0);
    const [before, after] = [x.shape.map(() => 0), x.shape.map(() => 0)];
    for (const [axis, size] of centredSizes(node)) {
      const surplus = x.shape[axis]! - size;
      // The odd element is cut or added at the end.
      const start = Math.floor(Math.abs(surplus) / 2);
      if (surplus > 0) x = c.slice(x, axis, start, start + size);
      if (surplus < 0) [before[axis], after[axis]] = [start, -surplus - start];
    }
    const pads = [...before, ...after];
    if (pads.some((pad) => pad > 0)) x = c.op('Pad', [x, c.ints(pads)]);
    return [x === operand(node, 0) ? c.op('Identity', [x]) : x];
  },
};

function centredSizes(node: Node): Map<number, number> {
  const rank = operand(node, 0).shape.length;
  const axes = (intsAttribute(node, 'axes') ?? [...Array(rank).keys()]).map((axis) =>
    normalizeAxis(axis, rank, describe(node)),
  );
  const sizes = intsOperand(node, 1);
  if (sizes.length !== axes.length) {
    throw new ShapeError(describe(node), { expected: `${axes.length} sizes`, actual: `${sizes.length}` });
  }
  return new Map(axes.map((axis, k) => [axis, sizes[k]!]));
}

interface Blocks {
  image: number[];
  block: number[];
  strides: number[];
  pads: number[];
  dilations: number[];
  /** Blocks along each axis. */
  columns: number[];
}

function blocksOf(node: Node): Blocks {
  const [image, block] = [intsOperand(node, 1), intsOperand(node, 2)];
  const rank = image.length;
  const strides = intsAttribute(node, 'strides', Array<number>(rank).fill(1));
  const pads = intsAttribute(node, 'pads', Array<number>(2 * rank).fill(0));
  const dilations = intsAttribute(node, 'dilations', Array<number>(rank).fill(1));
  const columns = image.map((size, d) => {
    const extent = (block[d]! - 1) * dilations[d]! + 1;
    return Math.floor((size + pads[d]! + pads[rank + d]! - extent) / strides[d]!) + 1;
  });
  const { shape } = operand(node, 0);
  if (shape.length !== 3 || shape[1]! % sizeOf(block) !== 0 || shape[2] !== sizeOf(columns)) {
    throw new ShapeError(describe(node), {
      expected: `[N, C · ${sizeOf(block)}, ${sizeOf(columns)}]`,
      actual: formatShape(shape),
    });
  }
  return { image, block, strides, pads, dilations, columns };
}

/** Adds blocks up to a picture: a transposed convolution whose weights are ones, one for each place in the block. */
const col2Im: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    const { image, block } = blocksOf(node);
    return [{ dtype, shape: [shape[0]!, shape[1]! / sizeOf(block), ...image] }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const { image, block, strides, pads, dilations, columns } = blocksOf(node);
    const places = sizeOf(block);
    const [batch = 0, planes = 0] = x.shape;
    const ones = Array.from({ length: places * places }, (_, i) =>
      Number(i % places === Math.floor(i / places)),
    );
    const weight = c.cast(build.constant(ones, [places, 1, ...block], 'float32'), x.dtype);
    const rank = image.length;
    // What the strides leave over at the end.
    const rest = image.map((size, d) => {
      const extent = (block[d]! - 1) * dilations[d]! + 1;
      return size + pads[d]! + pads[rank + d]! - extent - (columns[d]! - 1) * strides[d]!;
    });
    const blocks = c.reshape(x, [(batch * planes) / places, places, ...columns]);
    const attributes = { strides, pads, dilations, output_padding: rest };
    return [
      c.reshape(c.op('ConvTranspose', [blocks, weight], attributes), [batch, planes / places, ...image]),
    ];
  },
};

export const compositeMovementOps: OpTable = {
  ReverseSequence: reverseSequence,
  CenterCropPad: centerCropPad,
  Col2Im: col2Im,
};
