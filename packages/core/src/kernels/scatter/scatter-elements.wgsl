// scatter-elements.wgsl. x with elements replaced or combined. Every element of the output looks for the updates that
// hit it, in their order: no atomics, the same result at every run. Prelude provides, besides what indexed.ts does for
// x, indices and updates (the last two of one shape): AXIS: u32; combine().

fn element(at: Index) -> Scalar {
  var v = Scalar(x_at(at));
  let size = indices_shape();
  for (var axis = 0u; axis < RANK; axis++) {
    if (axis != AXIS && at[axis] >= size[axis]) { return v; }
  }
  let dim = i32(x_shape()[AXIS]);
  var origin = at;
  for (var k = 0u; k < size[AXIS]; k++) {
    origin[AXIS] = k;
    let i = i32(indices_at(origin));
    if (select(i, i + dim, i < 0) == i32(at[AXIS])) { v = combine(v, Scalar(updates_at(origin))); }
  }
  return v;
}
