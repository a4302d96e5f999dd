// Copies a block of `params.rows` × `params.columns` elements: y[row · yStride + yFirst + column] from
// x[row · xStride + xFirst + column].
// Prelude provides: WORKGROUP; accessors x_ (read), y_ (write); params.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.rows * params.columns) { return; }
  let row = i / params.columns;
  let column = i % params.columns;
  y_store(row * params.yStride + params.yFirst + column, x_load(row * params.xStride + params.xFirst + column));
}
