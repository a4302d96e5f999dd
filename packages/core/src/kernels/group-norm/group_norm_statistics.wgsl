// First of two dispatches of GroupNorm on channels-last memory: mean and sum of squared deviations of each group over
// a chunk of positions.
//
// A workgroup takes a tile of `columns` vec4s of channels (whole groups, or a part of one large group) and a chunk of
// positions. Each thread stays in one column and keeps statistics of its four channels.
//
// Prelude: x_place, moments; partials_store; const WORKGROUP;
// params: tiles, columns, rows (WORKGROUP / columns), tile_groups, tile_group_channels (channels that a group has in
// the tile), parts (tiles that one group spans), groups, positions, channels, chunks, chunk_positions.

var<workgroup> memory: array<vec4f, WORKGROUP>;
var<workgroup> column_memory: array<vec4f, WORKGROUP>;
var<workgroup> group_memory: array<f32, WORKGROUP>;

/** Sums `v` over the threads and lanes of each group of the tile; thread k < tile_groups gets group k's. */
fn group_sum(v: vec4f, thread: u32) -> f32 {
  workgroupBarrier();
  memory[thread] = v;
  workgroupBarrier();
  if (thread < params.columns) {
    var sum = vec4f(0.0);
    for (var row = 0u; row < params.rows; row++) { sum += memory[row * params.columns + thread]; }
    column_memory[thread] = sum;
  }
  workgroupBarrier();
  var sum = 0.0;
  if (thread < params.tile_groups) {
    let first = thread * params.tile_group_channels;
    for (var c = first; c < first + params.tile_group_channels; c++) { sum += column_memory[c / 4u][c % 4u]; }
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
  let chunk = flat / params.tiles % params.chunks;
  let sample = flat / params.tiles / params.chunks;
  if (sample >= params.batch) { return; }
  let column = thread % params.columns;
  let row = thread / params.columns;
  let first = chunk * params.chunk_positions;
  let last = min(first + params.chunk_positions, params.positions);
  let place = x_place(4u * (tile * params.columns + column));
  let base = sample * params.positions * place.width;
  let end = base + last * place.width;
  let start = base + (first + row) * place.width + place.channel;

  let own = moments(place, select(end, start, row < params.rows), end, params.rows * place.width);

  let group_count = f32((last - first) * params.tile_group_channels);
  let group_mean = group_sum(own.count * own.mean, thread) / group_count;
  if (thread < params.tile_groups) { group_memory[thread] = group_mean; }
  workgroupBarrier();
  let lane_group = (vec4u(4u * column) + vec4u(0u, 1u, 2u, 3u)) / params.tile_group_channels;
  let lane_mean = vec4f(
    group_memory[lane_group.x], group_memory[lane_group.y], group_memory[lane_group.z], group_memory[lane_group.w]);
  let delta = own.mean - lane_mean;
  let group_squares = group_sum(own.squares + own.count * delta * delta, thread);

  if (thread < params.tile_groups) {
    let group = tile / params.parts * params.tile_groups + thread;
    let part = tile % params.parts;
    let k = ((sample * params.groups + group) * params.chunks + chunk) * params.parts + part;
    partials_store(2u * k, group_mean);
    partials_store(2u * k + 1u, group_squares);
  }
}
