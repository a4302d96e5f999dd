// Sums taps of 3x3 kernels that fall on the same pixel of an image before it is doubled: [phase][column][2][2][channel].
// A thread takes four channels.
// Prelude: W_load, Y_store4, WORKGROUP; params elements, offset, columns, channels, column_stride, channel_stride, tap_row,
// tap_column.

// Along an axis, pixel 0 of a pair sees tap 0 of the pixel before it and taps 1 and 2 of its own; pixel 1 sees taps 0 and 1
// of its own and tap 2 of the pixel after it.
fn first_tap(phase: u32, t: u32) -> u32 { return select(t, 2u * t, phase == 1u); }
fn last_tap(phase: u32, t: u32) -> u32 { return select(2u * t, t + 1u, phase == 1u); }

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + lane);
  if (i >= params.elements) { return; }
  let channel = i % params.channels;
  var rest = i / params.channels;
  let tx = rest & 1u;
  let ty = (rest >> 1u) & 1u;
  rest = rest >> 2u;
  let column = rest % params.columns;
  let phase = rest / params.columns;
  let at = params.offset + column * params.column_stride + channel * params.channel_stride;
  let step = params.channel_stride;
  var sum = vec4f();
  for (var y = first_tap(phase >> 1u, ty); y <= last_tap(phase >> 1u, ty); y++) {
    for (var x = first_tap(phase & 1u, tx); x <= last_tap(phase & 1u, tx); x++) {
      let w = at + y * params.tap_row + x * params.tap_column;
      sum += vec4f(W_load(w), W_load(w + step), W_load(w + 2u * step), W_load(w + 3u * step));
    }
  }
  Y_store4(i, sum);
}
