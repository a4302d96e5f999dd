// What one image of latents will about look like, a pixel for each: colours are sums of channels, weighted by
// `factors` [channels + 1, 3], whose last row is what is there without any.
// Prelude provides: WORKGROUP; accessors x_, factors_ (read), y_ (write, packed RGBA); params.

fn colour(pixel: u32, component: u32) -> f32 {
  var sum = factors_load(params.channels * 3u + component);
  for (var channel = 0u; channel < params.channels; channel++) {
    sum += x_load(channel * params.plane + pixel) * factors_load(channel * 3u + component);
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.plane) { return; }
  y_store(i, pack4x8unorm(vec4f(colour(i, 0u), colour(i, 1u), colour(i, 2u), 1.0)));
}
