// gather-nd.wgsl. The last axis of indices holds coordinates in x. Prelude provides, besides what indexed.ts does for
// x and indices: BATCH_DIMS, leading axes that both share; DEPTH, coordinates in each row of indices.

fn element(at: Index) -> Scalar {
  const rows = indices_RANK - 1u;
  let size = x_shape();
  var which = indices_Index();
  for (var axis = 0u; axis < rows; axis++) { which[axis] = at[axis]; }
  var origin = x_Index();
  for (var axis = 0u; axis < x_RANK; axis++) {
    if (axis < BATCH_DIMS) {
      origin[axis] = at[axis];
    } else if (axis < BATCH_DIMS + DEPTH) {
      which[rows] = axis - BATCH_DIMS;
      let i = i32(indices_at(which));
      let dim = i32(size[axis]);
      origin[axis] = u32(clamp(select(i, i + dim, i < 0), 0, dim - 1));
    } else {
      origin[axis] = at[rows + axis - BATCH_DIMS - DEPTH];
    }
  }
  return Scalar(x_at(origin));
}
