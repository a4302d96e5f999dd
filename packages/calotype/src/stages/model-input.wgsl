// What a denoiser takes of one job: its latents, scaled for the step, then any further channels, for each of
// `params.rows` rows. Rows go through the images again and again: with guidance every image has two.
// `params.patchSize` > 1: models that attend to tokens take each patch of patch × patch latents as one.
// Prelude provides: WORKGROUP; accessors sample_, extra_ (read), y_ (write); params.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  let plane = params.height * params.width;
  let rowElements = (params.channels + params.extraChannels) * plane;
  if (i >= params.rows * rowElements) { return; }
  let image = i / rowElements % params.images;
  let at = i % rowElements;
  var channel = at / plane;
  var position = at % plane;
  if (params.patchSize > 1u) {
    let places = params.patchSize * params.patchSize;
    let features = (params.channels + params.extraChannels) * places;
    let token = at / features;
    let feature = at % features;
    channel = feature / places;
    let across = params.width / params.patchSize;
    let y = token / across * params.patchSize + feature % places / params.patchSize;
    let x = token % across * params.patchSize + feature % params.patchSize;
    position = y * params.width + x;
  }
  if (channel < params.channels) {
    y_store(params.yFirst + i, params.scale * sample_load((image * params.channels + channel) * plane + position));
  } else {
    let extra = image % params.extraImages * params.extraChannels + channel - params.channels;
    y_store(params.yFirst + i, extra_load(extra * plane + position));
  }
}
