import { evaluate } from '../../src/graph/evaluate.ts';
import type { CpuTensor } from '../../src/ops/op.ts';

/**
 * softmax(q·kᵀ·scale + mask)·v in f64. q [B, H, S, D], k [B, K, T, D], v [B, K, T, E] where K divides H; the mask
 * broadcasts to [B, H, S, T], numbers being added and bools saying what to keep. Rows that keep nothing give 0.
 */
export function attentionReference(
  q: CpuTensor,
  k: CpuTensor,
  v: CpuTensor,
  mask: CpuTensor | undefined,
  { scale, causal }: { scale: number; causal: boolean },
): Float64Array {
  const [batch, heads, queries, size] = q.shape as [number, number, number, number];
  const [, groups, keys, width] = v.shape as [number, number, number, number];
  const full =
    mask && evaluate({ kind: 'input', index: 0, type: 'f32' }, [mask], [batch, heads, queries, keys]);
  const result = new Float64Array(batch * heads * queries * width);
  const scores = new Float64Array(keys);
  for (let row = 0; row < batch * heads * queries; row++) {
    const query = row % queries;
    const head = Math.floor(row / queries);
    const group = Math.floor(head / heads) * groups + Math.floor((head % heads) / (heads / groups));
    for (let key = 0; key < keys; key++) {
      let sum = 0;
      for (let d = 0; d < size; d++)
        sum += q.data[row * size + d]! * k.data[(group * keys + key) * size + d]!;
      const masked = full?.[row * keys + key] ?? 0;
      const hidden = (causal && key > query) || (mask?.dtype === 'bool' && masked === 0);
      scores[key] = hidden ? -Infinity : sum * scale + (mask?.dtype === 'bool' ? 0 : masked);
    }
    const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
    if (top === -Infinity) continue;
    const weights = scores.map((score) => Math.exp(score - top));
    const total = weights.reduce((a, b) => a + b, 0);
    for (let e = 0; e < width; e++) {
      let sum = 0;
      for (let key = 0; key < keys; key++) sum += weights[key]! * v.data[(group * keys + key) * width + e]!;
      result[row * width + e] = sum / total;
    }
  }
  return result;
}
