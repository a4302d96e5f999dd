// combine.wgsl. How an update meets the element that it hits. Prelude provides: REDUCTION: 0 none, 1 add, 2 mul,
// 3 max, 4 min.

fn combine(a: Scalar, b: Scalar) -> Scalar {
  if (REDUCTION == 1u) { return a + b; }
  if (REDUCTION == 2u) { return a * b; }
  if (REDUCTION == 3u) { return max(a, b); }
  if (REDUCTION == 4u) { return min(a, b); }
  return b;
}
