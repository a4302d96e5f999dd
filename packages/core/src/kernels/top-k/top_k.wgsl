// The k largest or smallest elements along an axis, best first. A thread counts how many elements of the line come
// before its own, the lower index before the higher one among equals; that count is its place in the result.
//
// Prelude: x_load, x_outer(line); values_store, indices_store, y_outer(line); alias Scalar;
// const WORKGROUP, LARGEST; params: lines, length, k, x_offset, x_stride, y_stride.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let flat = flat_workgroup(id, grid) * WORKGROUP + thread;
  let line = flat / params.length;
  if (line >= params.lines) { return; }
  let own = flat % params.length;
  let start = params.x_offset + x_outer(line);
  let value = x_load(start + own * params.x_stride);
  var place = 0u;
  for (var j = 0u; j < params.length; j++) {
    let other = x_load(start + j * params.x_stride);
    let before = select((other < value), (other > value), LARGEST) || (other == value && j < own);
    place += select(0u, 1u, before);
  }
  if (place < params.k) {
    let i = y_outer(line) + place * params.y_stride;
    values_store(i, value);
    indices_store(i, i32(own));
  }
}
