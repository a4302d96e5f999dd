// Softmax and LogSoftmax over contiguous rows: LANES threads a row, WORKGROUP / LANES rows a workgroup.
//
// Prelude: read4, inside, x_row (rows.ts), write4; largest(v, thread) and total(v, thread), over the lanes of a row;
// const WORKGROUP, LANES, PER_LANE, KEEP (a lane's part of the row stays in registers), LOGARITHM;
// params: rows, length.

const LOWEST = -3.4028234e38;

var<private> kept: array<vec4f, PER_LANE>;

fn element4(start: u32, lane: u32, k: u32) -> vec4f {
  if (KEEP) { return kept[k]; }
  let column = 4u * (k * LANES + lane);
  return select(vec4f(LOWEST), read4(start, column), inside(column));
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = flat_workgroup(id, grid) * (WORKGROUP / LANES) + thread / LANES;
  let lane = thread % LANES;
  // Surplus threads repeat the last row without storing: all of them must reach the barriers.
  let start = x_row(min(row, params.rows - 1u));
  let length = params.length;
  let steps = (length + 4u * LANES - 1u) / (4u * LANES);

  var high = vec4f(LOWEST);
  for (var k = 0u; k < select(steps, PER_LANE, KEEP); k++) {
    let column = 4u * (k * LANES + lane);
    var v = vec4f(LOWEST);
    if (column < length) { v = select(v, read4(start, column), inside(column)); }
    if (KEEP) { kept[k] = v; }
    high = max(high, v);
  }
  let top = largest(max(max(high.x, high.y), max(high.z, high.w)), thread);

  var sum = vec4f(0.0);
  for (var k = 0u; k < select(steps, PER_LANE, KEEP); k++) {
    let column = 4u * (k * LANES + lane);
    if (column < length) { sum += select(vec4f(0.0), exp(element4(start, lane, k) - top), inside(column)); }
  }
  let all = total((sum.x + sum.y) + (sum.z + sum.w), thread);

  if (row >= params.rows) { return; }
  for (var k = 0u; k < select(steps, PER_LANE, KEEP); k++) {
    let column = 4u * (k * LANES + lane);
    if (column < length) {
      let v = element4(start, lane, k) - top;
      if (LOGARITHM) { write4(row, column, v - log(all)); }
      else { write4(row, column, exp(v) / all); }
    }
  }
}
