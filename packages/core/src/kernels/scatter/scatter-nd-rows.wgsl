// scatter-nd-rows.wgsl. Part of scatter-nd where the indices are known beforehand: rows names, by the first DEPTH
// coordinates, the only row of updates that hits there, or -1.

fn scattered(at: Index, slice: updates_Index, v: Scalar) -> Scalar {
  var spot = rows_Index();
  for (var k = 0u; k < DEPTH; k++) { spot[k] = at[k]; }
  let row = i32(rows_at(spot));
  if (row < 0) { return v; }
  var origin = slice;
  origin[0] = u32(row);
  return combine(v, Scalar(updates_at(origin)));
}
