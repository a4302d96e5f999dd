// What a decoder takes for one image of latents: y = x[params.xFirst + i] · deviation / scale + shift + mean, with the
// autoencoder's statistics for each of `params.statistics` channels.
// Prelude provides: WORKGROUP; accessors x_, mean_, deviation_ (read), y_ (write); params.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.elements) { return; }
  let channel = statistic(i, params.width, params.plane, params.statistics, params.patchSize);
  y_store(i, x_load(params.xFirst + i) * deviation_load(channel) / params.scale + params.shift + mean_load(channel));
}
