// GroupNorm of channels-last memory in one dispatch, for groups that one workgroup reads in a few rounds.
//
// A workgroup takes a bundle: as many neighbouring groups as it needs for whole vec4s (1, 2 or 4), `columns` vec4s wide.
// Thread t stays in column t % columns, so the lanes of its vec4s belong to fixed groups. Several workgroups share a
// bundle: each computes the statistics of all of it, which costs less than a second dispatch, and normalizes a span.
//
// Prelude: x_place, moments, normalize, scale4(channel), bias4(channel); sums_of(a, b, group) -> Sums, the sums of a and b over the
// lanes of each group; lane_sums(sums, group), those of a group; total(sums, thread), over the workgroup; const WORKGROUP,
// COLUMNS (at least params.columns); params: workgroups, shares, bundles (of a sample), columns, rows (WORKGROUP / columns), group_channels, positions,
// span_positions, channels, epsilon.

// Means of the threads that read the first position: near the mean of their group, so deviations from them are small.
var<workgroup> first_means: array<vec4f, COLUMNS>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let flat = flat_workgroup(id, grid);
  if (flat >= params.workgroups) { return; }
  let share = flat % params.shares;
  let bundle = flat / params.shares % params.bundles;
  let column = thread % params.columns;
  let channel = 4u * (bundle * params.columns + column);
  let group = (vec4u(4u * column) + vec4u(0u, 1u, 2u, 3u)) / params.group_channels;
  let row = thread / params.columns;
  let working = row < params.rows;
  let place = x_place(channel);
  let before = flat / params.shares / params.bundles * params.positions;
  let sample = before * params.channels;
  let x_sample = before * place.width;
  let x_end = x_sample + params.positions * place.width;

  let start = select(x_end, x_sample + row * place.width + place.channel, working);
  let own = moments(place, start, x_end, params.rows * place.width);
  if (row == 0u) { first_means[column] = own.mean; }
  workgroupBarrier();
  var shift = vec4f();
  for (var lane = 0u; lane < 4u; lane++) {
    let first = group[lane] * params.group_channels;
    shift[lane] = first_means[first / 4u][first % 4u];
  }
  let delta = own.mean - shift;
  let count = f32(params.positions) * f32(params.group_channels);
  let sums = total(sums_of(own.count * delta, own.squares + own.count * delta * delta, group), thread);
  var mean = vec4f();
  var variance = vec4f();
  for (var lane = 0u; lane < 4u; lane++) {
    let sum = lane_sums(sums, group[lane]) / count;
    mean[lane] = shift[lane] + sum.x;
    variance[lane] = max(0.0, sum.y - sum.x * sum.x);
  }

  let first = share * params.span_positions;
  let end = sample + min(first + params.span_positions, params.positions) * params.channels;
  let factor = inverseSqrt(variance + params.epsilon) * scale4(channel);
  let addend = bias4(channel);
  let x_start = x_sample + (first + row) * place.width + place.channel;
  let y_start = select(end, sample + (first + row) * params.channels + channel, working);
  normalize(place, x_start, params.rows * place.width, y_start, end, params.rows * params.channels, mean, factor, addend);
}
