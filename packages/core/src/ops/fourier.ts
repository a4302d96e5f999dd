import { ShapeError } from '../errors.ts';
import type { Node, Value } from '../graph/graph.ts';
import { rowMajor } from '../plan/view.ts';
import { formatShape, normalizeAxis, sizeOf } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, hasOperand, intAttribute, operand, scalarOperand } from './operands.ts';
import { unsupported } from './unsupported.ts';

/** Longest transform: the matrix of a longer one would be larger than what it transforms. */
const longest = 1024;

interface Transform {
  axis: number;
  /** Elements along the axis of what is transformed, cut or padded to that. */
  taken: number;
  /** Points of the transform. */
  length: number;
  /** Elements along the axis of the result. */
  given: number;
  /** Real or complex: elements in the last axis of operand and result. */
  from: 1 | 2;
  to: 1 | 2;
  inverse: boolean;
  onesided: boolean;
}

/** The axis is an operand since opset 20, an attribute before. */
function transformOf(node: Node): Transform {
  const { shape } = operand(node, 0);
  const given =
    node.opset >= 20 ? (hasOperand(node, 2) ? scalarOperand(node, 2) : -2) : intAttribute(node, 'axis', 1);
  const axis = normalizeAxis(given, shape.length, describe(node));
  const from = shape.at(-1);
  if (axis === shape.length - 1 || (from !== 1 && from !== 2)) {
    throw new ShapeError(describe(node), {
      expected: 'real or complex numbers in the last axis',
      actual: formatShape(shape),
    });
  }
  const inverse = intAttribute(node, 'inverse', 0) !== 0;
  const onesided = intAttribute(node, 'onesided', 0) !== 0;
  const half = inverse && onesided;
  const length = hasOperand(node, 1) ? scalarOperand(node, 1) : half ? 2 * (shape[axis]! - 1) : shape[axis]!;
  if (length > longest) throw unsupported(node, `transforms ${length} points`);
  const bins = Math.floor(length / 2) + 1;
  return {
    axis,
    length,
    from,
    inverse,
    onesided,
    taken: half ? bins : length,
    given: onesided && !inverse ? bins : length,
    to: half ? 1 : 2,
  };
}

/** Row for each real and imaginary part that goes in, column for each that comes out. */
function matrixOf({ taken, length, given, from, to, inverse, onesided }: Transform): number[] {
  const matrix: number[] = [];
  const sign = inverse ? 1 : -1;
  const scale = inverse ? 1 / length : 1;
  for (let n = 0; n < taken; n++) {
    // Half of a spectrum stands for the other half too, but for the bins that are their own mirror.
    const twice = inverse && onesided && n !== 0 && 2 * n !== length;
    for (let part = 0; part < from; part++) {
      for (let k = 0; k < given; k++) {
        const angle = (2 * Math.PI * ((n * k) % length)) / length;
        const [re, im] = [
          scale * (twice ? 2 : 1) * Math.cos(angle),
          scale * (twice ? 2 : 1) * sign * Math.sin(angle),
        ];
        // (1, i) · (re + i·im)
        matrix.push(...(part === 0 ? [re, im] : [-im, re]).slice(0, to));
      }
    }
  }
  return matrix;
}

/** The discrete Fourier transform as a product with its matrix. */
const dft: OpDefinition = {
  infer(node) {
    const { axis, given, to } = transformOf(node);
    const { dtype, shape } = operand(node, 0);
    return [{ dtype, shape: [...shape.with(axis, given).slice(0, -1), to] }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const x = operand(node, 0);
    const transform = transformOf(node);
    const { axis, taken, given, from, to } = transform;
    const rank = x.shape.length;
    const order = [...rowMajor(rank).filter((a) => a !== axis && a !== rank - 1), axis, rank - 1];
    const inverse = order.map((_, a) => order.indexOf(a));
    const rows = fitted(c, c.transpose(x, order), rank - 2, taken);
    const outer = rows.shape.slice(0, -2);
    const flat = c.reshape(rows, [sizeOf(outer), taken * from]);
    const matrix = build.constant(matrixOf(transform), [taken * from, given * to], x.dtype);
    const result = c.reshape(c.op('MatMul', [flat, matrix]), [...outer, given, to]);
    return [c.transpose(result, inverse)];
  },
};

/** Cut or padded with zeros at the end of an axis. */
function fitted(c: Compose, x: Value, axis: number, size: number): Value {
  const missing = size - x.shape[axis]!;
  if (missing <= 0) return c.slice(x, axis, 0, size);
  const pads = [...x.shape.map(() => 0), ...x.shape.map((_, a) => (a === axis ? missing : 0))];
  return c.op('Pad', [x, c.ints(pads)]);
}

/** Step from frame to frame, length of a frame, number of frames. */
function framesOf(node: Node): { step: number; length: number; count: number } {
  const signal = operand(node, 0).shape;
  const step = scalarOperand(node, 1);
  const length = hasOperand(node, 3) ? scalarOperand(node, 3) : (node.inputs[2]?.shape[0] ?? 0);
  const count = Math.floor((signal[1]! - length) / step) + 1;
  if (signal.length !== 3 || !(step > 0) || !(length > 0) || count < 1) {
    throw new ShapeError(describe(node), {
      expected: `a signal [batch, length, 1 or 2] of at least one frame of ${length}`,
      actual: formatShape(signal),
    });
  }
  return { step, length, count };
}

/** Transforms of overlapping frames of a signal [B, N, 1 or 2]: [B, frames, bins, 2]. */
const stft: OpDefinition = {
  infer(node) {
    const { length, count } = framesOf(node);
    const { dtype, shape } = operand(node, 0);
    const bins = intAttribute(node, 'onesided', 1) !== 0 ? Math.floor(length / 2) + 1 : length;
    return [{ dtype, shape: [shape[0]!, count, bins, 2] }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const { step, length, count } = framesOf(node);
    const places = Array.from(
      { length: count * length },
      (_, i) => Math.floor(i / length) * step + (i % length),
    );
    const frames = c.op('Gather', [operand(node, 0), build.constant(places, [count, length], 'int64')], {
      axis: 1,
    });
    const window = node.inputs[2];
    const weighted = window ? c.mul(frames, c.reshape(window, [1, 1, length, 1])) : frames;
    const onesided = intAttribute(node, 'onesided', 1);
    return [c.op('DFT', [weighted, undefined, c.scalar(2, 'int64')], { onesided })];
  },
};

/** Fourier transforms. */
export const fourierOps: OpTable = { DFT: dft, STFT: stft };
