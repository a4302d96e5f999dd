// one-hot.wgsl. values[1] where the coordinate along AXIS is the index, values[0] elsewhere. Negative indices count
// from the end; those outside of the axis are nowhere. Prelude provides: AXIS: u32; params.depth: u32, its size;
// indices, values.

fn element(at: Index) -> Scalar {
  var which = indices_Index();
  for (var axis = 0u; axis + 1u < RANK; axis++) { which[axis] = at[axis + select(0u, 1u, axis >= AXIS)]; }
  let i = i32(indices_at(which));
  let depth = i32(params.depth);
  let hot = select(i, i + depth, i < 0) == i32(at[AXIS]);
  return Scalar(values_at(values_Index(select(0u, 1u, hot))));
}
