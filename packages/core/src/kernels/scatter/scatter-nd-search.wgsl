// scatter-nd-search.wgsl. Part of scatter-nd where the indices are data: goes through all of them, [rows, DEPTH].

fn scattered(at: Index, slice: updates_Index, v: Scalar) -> Scalar {
  let size = x_shape();
  var result = v;
  var origin = slice;
  for (var row = 0u; row < indices_shape()[0]; row++) {
    var hit = true;
    for (var k = 0u; k < DEPTH; k++) {
      let i = i32(indices_at(indices_Index(row, k)));
      hit = hit && select(i, i + i32(size[k]), i < 0) == i32(at[k]);
    }
    if (hit) {
      origin[0] = row;
      result = combine(result, Scalar(updates_at(origin)));
    }
  }
  return result;
}
