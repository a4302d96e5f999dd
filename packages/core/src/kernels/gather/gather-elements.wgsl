// gather-elements.wgsl. The coordinate along AXIS comes from indices, which has the output's shape; the others stay.

fn element(at: Index) -> Scalar {
  let dim = i32(x_shape()[AXIS]);
  let i = i32(indices_at(at));
  var origin = at;
  origin[AXIS] = u32(clamp(select(i, i + dim, i < 0), 0, dim - 1));
  return Scalar(x_at(origin));
}
