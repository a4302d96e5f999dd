// y[params.yFirst + i] = params.scale · x[params.xFirst + i] + params.shift.
// Prelude provides: WORKGROUP; accessors x_ (read), y_ (write); params.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.elements) { return; }
  y_store(params.yFirst + i, params.scale * x_load(params.xFirst + i) + params.shift);
}
