// LayerNorm and RMSNorm over contiguous rows: LANES threads a row, WORKGROUP / LANES rows a workgroup.
// Mean first, then squares about it: no cancellation, and the row stays in registers (KEEP) or the L1 cache.
//
// Prelude: read4, inside, x_row (rows.ts), write4; scale4(column), bias4(column); total(v, thread), the sum over the
// lanes of a row; mean_out(row, v), deviation_out(row, v) store the statistics that somebody wants;
// const WORKGROUP, LANES, PER_LANE, KEEP, CENTER (subtract the mean: LayerNorm); params: rows, length, epsilon.

var<private> kept: array<vec4f, PER_LANE>;

fn element4(start: u32, lane: u32, k: u32) -> vec4f {
  if (KEEP) { return kept[k]; }
  return read4(start, 4u * (k * LANES + lane));
}

fn sum4(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }

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

  var sum = vec4f(0.0);
  for (var k = 0u; k < select(steps, PER_LANE, KEEP); k++) {
    let column = 4u * (k * LANES + lane);
    var v = vec4f(0.0);
    if (column < length) { v = select(vec4f(0.0), read4(start, column), inside(column)); }
    if (KEEP) { kept[k] = v; }
    sum += v;
  }
  var mean = 0.0;
  if (CENTER) { mean = total(sum4(sum), thread) / f32(length); }

  var squares = vec4f(0.0);
  for (var k = 0u; k < select(steps, PER_LANE, KEEP); k++) {
    let column = 4u * (k * LANES + lane);
    if (column < length) {
      let v = element4(start, lane, k) - mean;
      squares += select(vec4f(0.0), v * v, inside(column));
    }
  }
  let deviation = inverseSqrt(total(sum4(squares), thread) / f32(length) + params.epsilon);

  if (row >= params.rows) { return; }
  if (lane == 0u) {
    mean_out(row, mean);
    deviation_out(row, deviation);
  }
  for (var k = 0u; k < select(steps, PER_LANE, KEEP); k++) {
    let column = 4u * (k * LANES + lane);
    if (column < length) {
      let v = (element4(start, lane, k) - mean) * deviation;
      write4(row, column, v * scale4(column) + bias4(column));
    }
  }
}
