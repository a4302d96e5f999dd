// y[j·elements + i] = params.scale · x[params.offset + i] + params.shift for `params.copies` copies.
// Prelude provides: WORKGROUP; accessors x_ (read), y_ (write); params.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.elements) { return; }
  let value = params.scale * x_load(params.offset + i) + params.shift;
  for (var copy = 0u; copy < params.copies; copy++) { y_store(copy * params.elements + i, value); }
}
