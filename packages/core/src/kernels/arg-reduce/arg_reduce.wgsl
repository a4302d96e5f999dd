// ArgMax and ArgMin: LANES threads a line along the axis, WORKGROUP / LANES lines a workgroup.
//
// Prelude: x_load, x_outer(line); y_store; alias Scalar; const WORKGROUP, LANES, LARGEST, LAST (of equal elements the
// last one wins); params: lines, length, x_offset, x_stride (elements from one to the next along the axis).

var<workgroup> values: array<Scalar, WORKGROUP>;
var<workgroup> indices: array<u32, WORKGROUP>;

/** Whether element `i` of value `a` wins against element `j` of value `b`. */
fn wins(a: Scalar, i: u32, b: Scalar, j: u32) -> bool {
  if (a == b) { return select((i < j), (i > j), LAST); }
  return select((a < b), (a > b), LARGEST);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let line = flat_workgroup(id, grid) * (WORKGROUP / LANES) + thread / LANES;
  let lane = thread % LANES;
  let start = params.x_offset + x_outer(min(line, params.lines - 1u));
  var best = select(0u, lane, lane < params.length);
  var value = x_load(start + best * params.x_stride);
  for (var k = lane + LANES; k < params.length; k += LANES) {
    let v = x_load(start + k * params.x_stride);
    if (wins(v, k, value, best)) {
      value = v;
      best = k;
    }
  }
  values[thread] = value;
  indices[thread] = best;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half && wins(values[thread + half], indices[thread + half], values[thread], indices[thread])) {
      values[thread] = values[thread + half];
      indices[thread] = indices[thread + half];
    }
  }
  if (lane == 0u && line < params.lines) { y_store(line, i32(indices[thread])); }
}
