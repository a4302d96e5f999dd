import type { Shape } from '../../src/tensor/shape.ts';

interface Heads {
  shape: Shape;
  data: ArrayLike<number>;
}

/**
 * Attention in f64: q [B,H,S,D], k [B,K,T,D], v [B,K,T,E] -> [B,H,S,E]. `mask(b, h, s, t)` is added to the scaled scores;
 * rows without any finite score give zeros.
 */
export function attentionReference(
  q: Heads,
  k: Heads,
  v: Heads,
  scale: number,
  mask: (b: number, h: number, s: number, t: number) => number = () => 0,
): Float64Array {
  const [batch, heads, queries, size] = q.shape as [number, number, number, number];
  const [, keyHeads, keys] = k.shape as [number, number, number];
  const values = v.shape[3]!;
  const result = new Float64Array(batch * heads * queries * values);
  const scores = new Float64Array(keys);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const from = b * keyHeads + Math.floor(h / (heads / keyHeads));
      for (let s = 0; s < queries; s++) {
        const row = (b * heads + h) * queries + s;
        for (let t = 0; t < keys; t++) {
          let sum = 0;
          for (let d = 0; d < size; d++)
            sum += q.data[row * size + d]! * k.data[(from * keys + t) * size + d]!;
          scores[t] = sum * scale + mask(b, h, s, t);
        }
        const highest = scores.reduce((a, x) => Math.max(a, x), -Infinity);
        if (highest === -Infinity) continue;
        const weights = scores.map((x) => Math.exp(x - highest));
        const total = weights.reduce((a, x) => a + x, 0);
        for (let e = 0; e < values; e++) {
          let sum = 0;
          for (let t = 0; t < keys; t++) sum += weights[t]! * v.data[(from * keys + t) * values + e]!;
          result[row * values + e] = sum / total;
        }
      }
    }
  }
  return result;
}
