// y = mask · x + (1 − mask) · (params.x0 · known + params.noise · noise): where the mask is 0, the picture that is kept,
// at the noise level that x has. `mask` holds one plane an image; it repeats after `params.maskImages` images, as
// `known` does after `params.knownElements` elements.
// Prelude provides: WORKGROUP; accessors x_, mask_, known_, noise_ (read), y_ (write); params.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.elements) { return; }
  let image = i / (params.plane * params.channels);
  let mask = mask_load((image % params.maskImages) * params.plane + i % params.plane);
  let kept = params.x0 * known_load(i % params.knownElements) + params.noise * noise_load(i);
  y_store(i, mask * x_load(i) + (1.0 - mask) * kept);
}
