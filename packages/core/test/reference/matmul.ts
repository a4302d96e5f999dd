import type { Shape } from '../../src/tensor/shape.ts';
import { broadcastShapes, sizeOf, stridesOf } from '../../src/tensor/shape.ts';

/** `[..., M, K] · [..., K, N]` in f64; ranks of 2 and more. */
export function matmulReference(
  a: { shape: Shape; data: ArrayLike<number> },
  b: { shape: Shape; data: ArrayLike<number> },
): { shape: number[]; data: Float64Array } {
  const [m, k, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
  const batch = broadcastShapes([a.shape.slice(0, -2), b.shape.slice(0, -2)], 'reference');
  const shape = [...batch, m, n];
  const data = new Float64Array(sizeOf(shape));
  for (let p = 0; p < sizeOf(batch); p++) {
    const [a0, b0] = [batchOffset(p, batch, a.shape), batchOffset(p, batch, b.shape)];
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let c = 0; c < k; c++) sum += a.data[a0 + i * k + c]! * b.data[b0 + c * n + j]!;
        data[(p * m + i) * n + j] = sum;
      }
    }
  }
  return { shape, data };
}

function batchOffset(flat: number, batch: Shape, shape: Shape): number {
  const own = shape.slice(0, -2);
  const strides = stridesOf(shape);
  let offset = 0;
  for (let axis = batch.length - 1; axis >= 0; axis--) {
    const index = flat % batch[axis]!;
    flat = Math.floor(flat / batch[axis]!);
    const mine = axis - batch.length + own.length;
    if (mine >= 0 && own[mine] !== 1) offset += index * strides[mine]!;
  }
  return offset;
}
