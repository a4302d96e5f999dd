import { ShapeError } from '../errors.ts';

/** Concrete dimensions, outermost first. A scalar is `[]`. */
export type Shape = readonly number[];

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

/** Row-major element strides of a dense tensor. */
export function stridesOf(shape: Shape): number[] {
  const strides = shape.map(() => 0);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis]!;
  }
  return strides;
}

/** Brings a possibly negative axis into 0…rank-1. Throws `ShapeError` outside of that. */
export function normalizeAxis(axis: number, rank: number, where: string): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= Math.max(rank, 1)) {
    throw new ShapeError(where, { expected: `an axis from ${-rank} to ${rank - 1}`, actual: String(axis) });
  }
  return axis < 0 ? axis + rank : axis;
}

/** ONNX (numpy) multidirectional broadcasting. Throws `ShapeError` when the shapes do not fit. */
export function broadcastShapes(shapes: readonly Shape[], where: string): number[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    let dim = 1;
    for (const shape of shapes) {
      const own = shape[axis - rank + shape.length] ?? 1;
      if (own === 1 || own === dim) continue;
      if (dim !== 1) {
        throw new ShapeError(where, {
          expected: 'shapes that broadcast',
          actual: shapes.map(formatShape).join(' and '),
        });
      }
      dim = own;
    }
    return dim;
  });
}

export function equalShapes(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}
