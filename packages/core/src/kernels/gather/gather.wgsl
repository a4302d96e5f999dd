// gather.wgsl. Slices of x along AXIS, in the order of indices. Prelude provides, besides what indexed.ts does for x
// and indices: AXIS: u32; DEPTH: u32, how many of the output's axes come from indices (0 for a single index);
// fn table_at(at: x_Index) -> Scalar.

fn element(at: Index) -> Scalar {
  var which = indices_Index();
  for (var k = 0u; k < DEPTH; k++) { which[k] = at[AXIS + k]; }
  let dim = i32(x_shape()[AXIS]);
  let row = i32(indices_at(which));
  var origin = x_Index();
  for (var axis = 0u; axis < x_RANK; axis++) {
    if (axis < AXIS) { origin[axis] = at[axis]; }
    if (axis > AXIS) { origin[axis] = at[axis + DEPTH - 1u]; }
  }
  origin[AXIS] = u32(clamp(select(row, row + dim, row < 0), 0, dim - 1));
  return table_at(origin);
}
