// tensor-scatter.wgsl. A cache with updates written along AXIS from each batch's own position on. Prelude provides,
// besides what indexed.ts does for x and updates: AXIS: u32; CIRCULAR: bool, whether positions wrap around;
// fn start(batch: u32) -> i32.

fn element(at: Index) -> Scalar {
  let size = i32(x_shape()[AXIS]);
  var position = i32(at[AXIS]) - start(at[0]);
  if (CIRCULAR) { position = ((position % size) + size) % size; }
  if (position < 0 || position >= i32(updates_shape()[AXIS])) { return Scalar(x_at(at)); }
  var origin = at;
  origin[AXIS] = u32(position);
  return Scalar(updates_at(origin));
}
