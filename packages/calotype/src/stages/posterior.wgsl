// A sample of what an autoencoder's encoder describes, scaled for the denoiser:
// y = (mean + exp(½ · logvar) · noise − shift) · scale. `moments` holds, image by image (of `params.momentImages`), the means of
// `params.imageElements` elements and then their log variances, or without `params.variances` the means alone.
// Prelude provides: WORKGROUP; accessors moments_, noise_, mean_, deviation_ (read), y_ (write); params.
//
// The autoencoder's own statistics, one for each of `params.statistics` channels, come before scale and shift.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.elements) { return; }
  let image = i / params.imageElements % params.momentImages;
  let at = image * params.imageElements * (1u + params.variances) + i % params.imageElements;
  var value = moments_load(at);
  if (params.variances != 0u) {
    // diffusers' bounds, which keep the exponential finite.
    let logvar = clamp(moments_load(at + params.imageElements), -30.0, 20.0);
    value += exp(0.5 * logvar) * noise_load(i);
  }
  let channel = statistic(i % params.imageElements, params.width, params.plane, params.statistics, params.patchSize);
  y_store(i, (value - params.shift - mean_load(channel)) * params.scale / deviation_load(channel));
}
