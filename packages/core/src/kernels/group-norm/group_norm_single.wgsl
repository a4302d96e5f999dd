// GroupNorm of channels-last memory in one dispatch, for groups that one workgroup reads in a few rounds.
//
// A workgroup takes a bundle: as many neighbouring groups as it needs for whole vec4s (1, 2 or 4), `columns` vec4s wide.
// Thread t stays in column t % columns, so the lanes of its vec4s belong to fixed groups. Three passes over the bundle
// (mean, squares about the mean, result); the second and third read from the L1 cache.
//
// Prelude: x_load4, y_store4, scale4(channel), bias4(channel), epilogue(v, i); total(v, thread), the sum over the
// workgroup; const WORKGROUP, BUNDLED (whether a bundle holds more than one group);
// params: batch_bundles (bundles of all samples), bundles (of one), columns, rows (WORKGROUP / columns), group_channels,
// positions, channels, epsilon.

fn x4(i: u32) -> vec4f { return x_load4(i); }

/** Sums a thread's four lanes by group: component k is for group k of the bundle. */
fn by_group(v: vec4f, group: vec4u) -> vec4f {
  if (!BUNDLED) { return vec4f(v.x + v.y + v.z + v.w, 0.0, 0.0, 0.0); }
  let zero = vec4f(0.0);
  let one = vec4f(1.0);
  return vec4f(
    dot(v, select(zero, one, group == vec4u(0u))),
    dot(v, select(zero, one, group == vec4u(1u))),
    dot(v, select(zero, one, group == vec4u(2u))),
    dot(v, select(zero, one, group == vec4u(3u))));
}

fn by_lane(v: vec4f, group: vec4u) -> vec4f {
  if (!BUNDLED) { return vec4f(v.x); }
  return vec4f(v[group.x], v[group.y], v[group.z], v[group.w]);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let flat = flat_workgroup(id, grid);
  if (flat >= params.batch_bundles) { return; }
  let bundle = flat % params.bundles;
  let column = thread % params.columns;
  let channel = 4u * (bundle * params.columns + column);
  let group = (vec4u(4u * column) + vec4u(0u, 1u, 2u, 3u)) / params.group_channels;
  let step = params.channels * params.rows;
  let row = thread / params.columns;
  let sample = flat / params.bundles * params.positions * params.channels;
  let end = sample + params.positions * params.channels;
  let start = select(end, sample + row * params.channels + channel, row < params.rows && row < params.positions);

  var sum = vec4f(0.0);
  var i = start;
  for (; i + 3u * step < end; i += 4u * step) {
    let a = x4(i);
    let b = x4(i + step);
    let c = x4(i + 2u * step);
    let d = x4(i + 3u * step);
    sum += (a + b) + (c + d);
  }
  for (; i < end; i += step) { sum += x4(i); }
  let count = f32(params.positions) * f32(params.group_channels);
  let mean = by_lane(total(by_group(sum, group), thread) / count, group);

  var squares = vec4f(0.0);
  for (i = start; i + 3u * step < end; i += 4u * step) {
    let a = x4(i) - mean;
    let b = x4(i + step) - mean;
    let c = x4(i + 2u * step) - mean;
    let d = x4(i + 3u * step) - mean;
    squares += (a * a + b * b) + (c * c + d * d);
  }
  for (; i < end; i += step) {
    let a = x4(i) - mean;
    squares += a * a;
  }
  let variance = by_lane(total(by_group(squares, group), thread) / count, group);

  if (start == end) { return; }
  let factor = inverseSqrt(variance + params.epsilon) * scale4(channel);
  let addend = bias4(channel);
  for (i = start; i < end; i += step) {
    y_store4(i, epilogue((x4(i) - mean) * factor + addend, i));
  }
}
