// Second of two dispatches of GroupNorm on channels-last memory: merges the partial statistics of the groups that its
// tile needs, then normalizes a span of positions. Every workgroup merges anew: some KiB from the L2 cache are cheaper
// than a dispatch of its own.
//
// Prelude: x_place, normalize, partials_load, scale4(channel), bias4(channel); const WORKGROUP;
// params: as group_norm_statistics; also group_channels, group_lanes (threads that merge for one group), spans,
// span_positions, epsilon.

var<workgroup> memory: array<f32, WORKGROUP>;
var<workgroup> means: array<f32, WORKGROUP>;
var<workgroup> factors: array<f32, WORKGROUP>;

fn partial_count(k: u32) -> f32 {
  let first = k / params.parts * params.chunk_positions;
  return f32(min(params.chunk_positions, params.positions - first) * params.tile_group_channels);
}

/** The sum that thread k < tile_groups gets is of group k's threads. */
fn group_sum(v: f32, thread: u32) -> f32 {
  workgroupBarrier();
  memory[thread] = v;
  workgroupBarrier();
  var sum = 0.0;
  if (thread < params.tile_groups) {
    let first = thread * params.group_lanes;
    for (var k = first; k < first + params.group_lanes; k++) { sum += memory[k]; }
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let flat = flat_workgroup(id, grid);
  let tile = flat % params.tiles;
  let span = flat / params.tiles % params.spans;
  let sample = flat / params.tiles / params.spans;
  if (sample >= params.batch) { return; }

  let partials = params.chunks * params.parts;
  let own = thread / params.group_lanes;
  let first_partial = (sample * params.groups + tile / params.parts * params.tile_groups + own) * partials;
  let first_lane = select(partials, thread % params.group_lanes, own < params.tile_groups);
  let count = f32(params.positions) * f32(params.group_channels);
  var weighted = 0.0;
  for (var k = first_lane; k < partials; k += params.group_lanes) {
    weighted += partial_count(k) / count * partials_load(2u * (first_partial + k));
  }
  let group_mean = group_sum(weighted, thread);
  if (thread < params.tile_groups) { means[thread] = group_mean; }
  workgroupBarrier();
  var squares = 0.0;
  if (own < params.tile_groups) {
    let mean = means[own];
    for (var k = first_lane; k < partials; k += params.group_lanes) {
      let delta = partials_load(2u * (first_partial + k)) - mean;
      squares += partials_load(2u * (first_partial + k) + 1u) + partial_count(k) * delta * delta;
    }
  }
  let group_squares = group_sum(squares, thread);
  if (thread < params.tile_groups) { factors[thread] = inverseSqrt(group_squares / count + params.epsilon); }
  workgroupBarrier();

  let column = thread % params.columns;
  let row = thread / params.columns;
  if (row >= params.rows) { return; }
  let group = (vec4u(4u * column) + vec4u(0u, 1u, 2u, 3u)) / params.tile_group_channels;
  let channel = 4u * (tile * params.columns + column);
  let place = x_place(channel);
  let mean = vec4f(means[group.x], means[group.y], means[group.z], means[group.w]);
  let factor = vec4f(factors[group.x], factors[group.y], factors[group.z], factors[group.w]) * scale4(channel);
  let addend = bias4(channel);
  let first = span * params.span_positions;
  let last = min(first + params.span_positions, params.positions);
  let base = sample * params.positions * params.channels;
  let end = base + last * params.channels;
  let x_start = (sample * params.positions + first + row) * place.width + place.channel;
  let y_start = base + (first + row) * params.channels + channel;
  normalize(place, x_start, params.rows * place.width, y_start, end, params.rows * params.channels, mean, factor, addend);
}
