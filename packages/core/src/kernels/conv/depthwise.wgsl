// Depthwise convolution over channels-last images: every channel has its own kernel. A thread makes four neighbouring
// channels of one output position; weights lie as [tap][channel].
// Prelude: X_load, X_load4, W_load4, Y_store4, epilogue, WORKGROUP, ALIGNED, TRANSPOSED, struct Position and
// fn position(flat: u32) -> Position, fn tap_offset(at: Position, tap: u32) -> i32 (element offset of the tap's
// input pixel, or -1 outside), TAPS; params elements, channels, x_offset, x_channel.

fn input4(i: u32) -> vec4f {
  if (ALIGNED) { return X_load4(i); }
  return vec4f(
    X_load(i), X_load(i + params.x_channel), X_load(i + 2u * params.x_channel), X_load(i + 3u * params.x_channel));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + lane);
  if (i >= params.elements) { return; }
  let channel = i % params.channels;
  let at = position(i / params.channels);
  var v = vec4f();
  for (var tap = 0u; tap < TAPS; tap++) {
    let offset = tap_offset(at, tap);
    if (offset >= 0) {
      v += input4(params.x_offset + u32(offset) + channel * params.x_channel) * W_load4(tap * params.channels + channel);
    }
  }
  Y_store4(i, epilogue(v, i));
}
