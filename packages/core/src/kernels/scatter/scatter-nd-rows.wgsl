// scatter-nd-rows.wgsl. Part of scatter-nd where the indices are known beforehand: rows names, by the first DEPTH
// coordinates, the only row of updates that hits there, or -1.

fn scattered(at: Index, slice: updates_Index, v: Scalar) -> Scalar {
  var where = rows_Index();
  for (var k = 0u; k < DEPTH; k++) { where[k] = at[k]; }
  let row = i32(rows_at(where));
  if (row < 0) { return v; }
  var from = slice;
  from[0] = u32(row);
  return combine(v, Scalar(updates_at(from)));
}
