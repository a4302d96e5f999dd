// pad.wgsl. A tensor with a margin. Prelude provides, besides what indexed.ts does for x (and for margin(), the
// value around it):
//   MODE: 0 constant, 1 reflect, 2 edge, 3 wrap; fn begins() -> array<i32, RANK>: the margin before each axis.

fn positive_mod(a: i32, b: i32) -> i32 { return ((a % b) + b) % b; }

fn element(at: Index) -> Scalar {
  let size = x_shape();
  let begin = begins();
  var origin = x_Index();
  for (var axis = 0u; axis < RANK; axis++) {
    let n = i32(size[axis]);
    var i = i32(at[axis]) - begin[axis];
    if (MODE == 0u) {
      if (i < 0 || i >= n) { return margin(); }
    } else if (MODE == 1u) {
      // Mirrored at the first and the last element, which are not repeated.
      let period = max(2 * (n - 1), 1);
      i = positive_mod(i, period);
      i = min(i, period - i);
    } else if (MODE == 2u) {
      i = clamp(i, 0, n - 1);
    } else {
      i = positive_mod(i, n);
    }
    origin[axis] = u32(i);
  }
  return Scalar(x_at(origin));
}
