import { ShapeError } from '../errors.ts';
import type { Value } from '../graph/graph.ts';
import { formatShape } from '../tensor/shape.ts';
import { dtypeAttribute } from './cast.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, hasOperand, intAttribute, intsOperand, operand, scalarOperand } from './operands.ts';
import { longestList, unsupported } from './unsupported.ts';

// Operators that make tensors of numbers known beforehand.

/** A window of the cosine family: a − b·cos x + c·cos 2x. The size is an operand. */
function cosineWindow(a: number, b: number, c: number): OpDefinition {
  return {
    infer: (node) => [
      { dtype: dtypeAttribute(node, 'output_datatype') ?? 'float32', shape: [scalarOperand(node, 0)] },
    ],
    fold(node) {
      const size = scalarOperand(node, 0);
      const period = intAttribute(node, 'periodic', 1) !== 0 ? size : size - 1;
      return [
        Float64Array.from({ length: size }, (_, k) => {
          const x = (2 * Math.PI * k) / period;
          return a - b * Math.cos(x) + c * Math.cos(2 * x);
        }),
      ];
    },
  };
}

/** Triangular filters on the mel scale: [spectrogram bins, mel bins]. */
const melWeightMatrix: OpDefinition = {
  infer(node) {
    // All are asked for, not only those that the shape depends on: known operands fold.
    const [bins, length] = [0, 1, 2, 3, 4].map((index) => scalarOperand(node, index)) as [number, number];
    const shape = [Math.floor(length / 2) + 1, bins];
    return [{ dtype: dtypeAttribute(node, 'output_datatype') ?? 'float32', shape }];
  },
  fold(node) {
    const [bins, length, rate, low, high] = [0, 1, 2, 3, 4].map((index) => scalarOperand(node, index)) as [
      number, number, number, number, number,
    ]; // prettier-ignore
    const toMel = (hertz: number): number => 2595 * Math.log10(1 + hertz / 700);
    const step = (toMel(high) - toMel(low)) / (bins + 2);
    const edges = Array.from({ length: bins + 2 }, (_, k) => {
      const hertz = 700 * (10 ** ((k * step + toMel(low)) / 2595) - 1);
      return Math.floor(((length + 1) * hertz) / rate);
    });
    const data = new Float64Array((Math.floor(length / 2) + 1) * bins);
    for (let bin = 0; bin < bins; bin++) {
      const [left, middle, right] = [edges[bin]!, edges[bin + 1]!, edges[bin + 2]!];
      if (left === middle) data[middle * bins + bin] = 1;
      else for (let k = left; k <= middle; k++) data[k * bins + bin] = (k - left) / (middle - left);
      for (let k = middle; k < right; k++) data[k * bins + bin] = (right - k) / (right - middle);
    }
    return [data];
  },
};

/** Sampling positions of an affine transformation: theta [N, 2, 3] or [N, 3, 4], the picture's size as an operand. */
const affineGrid: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    const [batch, , ...spatial] = intsOperand(node, 1);
    const rank = spatial.length;
    if (batch === undefined || shape[0] !== batch || shape[1] !== rank || shape[2] !== rank + 1) {
      throw new ShapeError(describe(node), {
        expected: `matrices [${batch}, ${rank}, ${rank + 1}]`,
        actual: formatShape(shape),
      });
    }
    if (Math.max(...spatial) > longestList)
      throw unsupported(node, `makes a grid of ${formatShape(spatial)}`);
    return [{ dtype, shape: [batch, ...spatial, rank] }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const theta = operand(node, 0);
    const [, , ...spatial] = intsOperand(node, 1);
    const rank = spatial.length;
    const corners = intAttribute(node, 'align_corners', 0) !== 0;
    const place = (k: number, size: number): number =>
      corners ? (size > 1 ? (2 * k) / (size - 1) - 1 : 0) : (2 * k + 1) / size - 1;
    const column = (k: number): Value =>
      c.reshape(c.slice(theta, 2, k, k + 1), [theta.shape[0]!, ...spatial.map(() => 1), rank]);
    // The last axis is x, the first coordinate.
    const moved = spatial.map((size, axis) => {
      const along = spatial.map((_, other) => (other === axis ? size : 1));
      const places = Array.from({ length: size }, (_, k) => place(k, size));
      return c.mul(build.constant(places, [1, ...along, 1], theta.dtype), column(rank - 1 - axis));
    });
    return [moved.reduce((sum, part) => c.add(sum, part), column(rank))];
  },
};

/** What a run without training makes of it: nothing. */
const dropout: OpDefinition = {
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    const trains = hasOperand(node, 2) && scalarOperand(node, 2) !== 0;
    if (trains && !(hasOperand(node, 1) && scalarOperand(node, 1) === 0)) {
      throw unsupported(node, 'drops elements at random in training');
    }
    return [
      { dtype, shape },
      { dtype: node.opset < 10 ? dtype : 'bool', shape },
    ];
  },
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const kept = c.scalar(1, node.opset < 10 ? x.dtype : 'bool');
    return [c.op('Identity', [x]), c.op('Expand', [kept, c.ints(x.shape)])];
  },
};

/** Windows, grids, and Dropout at rest. */
export const generatorOps: OpTable = {
  AffineGrid: affineGrid,
  BlackmanWindow: cosineWindow(0.42, 0.5, 0.08),
  Dropout: dropout,
  HammingWindow: cosineWindow(25 / 46, 21 / 46, 0),
  HannWindow: cosineWindow(0.5, 0.5, 0),
  MelWeightMatrix: melWeightMatrix,
};
