// y = params.x0 · x + params.noise · noise: a clean sample at a noise level. x repeats after `params.period` elements.
// Prelude provides: WORKGROUP; accessors x_, noise_ (read), y_ (write); params.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.elements) { return; }
  y_store(i, params.x0 * x_load(i % params.period) + params.noise * noise_load(i));
}
