// A colour for each latent: planes[c] = bias[c] + Σ over channels of weight[channel, c] · scale · x[channel].
// `projection` is [channels + 1, 3], the bias last. Prelude provides: WORKGROUP; accessors x_, projection_ (read), planes_
// (write); params.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= 3u * params.plane) { return; }
  let c = i / params.plane;
  let pixel = i % params.plane;
  var sum = projection_load(params.channels * 3u + c);
  for (var channel = 0u; channel < params.channels; channel++) {
    let latent = x_load(params.xFirst + channel * params.plane + pixel) * params.scale;
    sum = fma(projection_load(channel * 3u + c), latent, sum);
  }
  planes_store(i, sum);
}
