// Convolution with any groups, strides and storage, for the shapes that are no product of matrices worth tiling
// (few channels in a group). A thread makes four neighbouring outputs in channels-last order, one after the other.
// Prelude: X_load, W_load, Y_store4, epilogue, WORKGROUP, TAPS, GROUP_INPUTS (input channels of a group),
// GROUP_OUTPUTS, position and tap_offset as in depthwise.wgsl, fn weight_tap(tap: u32) -> u32; params elements, channels
// (of the output), x_offset, x_channel, w_offset, w_group, w_input, w_output (element strides of the weights).

fn output(i: u32) -> f32 {
  let channel = i % params.channels;
  let group = channel / GROUP_OUTPUTS;
  let at = position(i / params.channels);
  let x0 = params.x_offset + group * GROUP_INPUTS * params.x_channel;
  let w0 = params.w_offset + group * params.w_group + (channel % GROUP_OUTPUTS) * params.w_output;
  var sum = 0.0;
  for (var tap = 0u; tap < TAPS; tap++) {
    let offset = tap_offset(at, tap);
    if (offset < 0) { continue; }
    let w = w0 + weight_tap(tap);
    for (var c = 0u; c < GROUP_INPUTS; c++) {
      sum += X_load(x0 + u32(offset) + c * params.x_channel) * W_load(w + c * params.w_input);
    }
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + lane);
  if (i >= params.elements) { return; }
  let last = params.elements - 1u;
  let v = vec4f(output(i), output(min(i + 1u, last)), output(min(i + 2u, last)), output(min(i + 3u, last)));
  Y_store4(i, epilogue(v, i));
}
