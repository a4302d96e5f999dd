import type { Shape } from '../../src/tensor/shape.ts';
import { sizeOf, stridesOf } from '../../src/tensor/shape.ts';

/** How scales and zero points lie: one, one for each index of an axis, or one for each block of it. */
export interface Granularity {
  axis?: number;
  block?: number;
}

/** Shape of the scales for a tensor. */
export function scaleShape(shape: Shape, { axis, block }: Granularity): number[] {
  if (axis === undefined) return [];
  if (block === undefined) return [shape[axis]!];
  return shape.map((dim, a) => (a === axis ? Math.ceil(dim / block) : dim));
}

/** `(x - zero) · scale` in f64. */
export function dequantizeReference(
  shape: Shape,
  x: ArrayLike<number>,
  scale: ArrayLike<number>,
  zero: ArrayLike<number> | undefined,
  granularity: Granularity,
): Float64Array {
  const { axis, block } = granularity;
  const strides = stridesOf(shape);
  const own = stridesOf(scaleShape(shape, granularity));
  return Float64Array.from({ length: sizeOf(shape) }, (_, i) => {
    const at = shape.map((dim, a) => Math.floor(i / strides[a]!) % dim);
    let s = 0;
    if (axis !== undefined && block === undefined) s = at[axis]!;
    if (axis !== undefined && block !== undefined)
      s = at.reduce((sum, c, a) => sum + (a === axis ? Math.floor(c / block) : c) * own[a]!, 0);
    return (x[i]! - (zero?.[s] ?? 0)) * scale[s]!;
  });
}
