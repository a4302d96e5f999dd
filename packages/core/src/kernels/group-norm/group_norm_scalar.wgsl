// GroupNorm of channels-last memory whose rows are no whole vec4s. One workgroup for each sample and group.
//
// Prelude: x_load, y_store, scale1(channel), bias1(channel); total(v, thread), the sum over the workgroup;
// const WORKGROUP; params: sample_groups (of all samples), groups, group_channels, positions, channels, epsilon.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let flat = flat_workgroup(id, grid);
  if (flat >= params.sample_groups) { return; }
  let first_channel = flat % params.groups * params.group_channels;
  let base = flat / params.groups * params.positions * params.channels + first_channel;
  let size = params.group_channels;
  let elements = size * params.positions;

  var sum = 0.0;
  for (var k = thread; k < elements; k += WORKGROUP) { sum += x_load(base + k / size * params.channels + k % size); }
  let mean = total(sum, thread) / f32(elements);
  var squares = 0.0;
  for (var k = thread; k < elements; k += WORKGROUP) {
    let delta = x_load(base + k / size * params.channels + k % size) - mean;
    squares += delta * delta;
  }
  let factor = inverseSqrt(total(squares, thread) / f32(elements) + params.epsilon);
  for (var k = thread; k < elements; k += WORKGROUP) {
    let i = base + k / size * params.channels + k % size;
    let channel = first_channel + k % size;
    y_store(i, (x_load(i) - mean) * factor * scale1(channel) + bias1(channel));
  }
}
