// Turns rows of scores into weights: exp2 of the scaled, masked score less the row's maximum, at most 1; and the
// reciprocal of their sum, with which the product with the values is multiplied in the end. A workgroup takes a row.
// Prelude: S_load, W_store4, F_store4 (one group for each row, its first element counts), masked (with MASKED), the
// constants of shared.ts, WORKGROUP, MASKED, CAUSAL; params rows (of a head, in these scores), first_row, batch, keys,
// pitch, queries, scale.

var<workgroup> shared_values: array<f32, WORKGROUP>;

fn score(head: u32, row: u32, key: u32, at: u32) -> f32 {
  let s = params.scale * S_load(at);
  if (CAUSAL && key > row) { return EXCLUDED; }
  if (MASKED) { return masked(s, params.batch, head, row, key); }
  return s;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let workgroup = flat_workgroup(id, grid);
  if (workgroup >= params.workgroups) { return; }
  let head = workgroup / params.rows;
  let row = params.first_row + workgroup % params.rows;
  let start = workgroup * params.pitch;
  var highest = NO_MAXIMUM;
  for (var key = lane; key < params.keys; key += WORKGROUP) {
    highest = max(highest, score(head, row, key, start + key));
  }
  shared_values[lane] = highest;
  workgroupBarrier();
  for (var distance = WORKGROUP / 2u; distance > 0u; distance /= 2u) {
    if (lane < distance) { shared_values[lane] = max(shared_values[lane], shared_values[lane + distance]); }
    workgroupBarrier();
  }
  highest = shared_values[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var key = lane * 4u; key < params.pitch; key += WORKGROUP * 4u) {
    var w = vec4f();
    for (var e = 0u; e < 4u; e++) {
      if (key + e < params.keys) { w[e] = exp2(score(head, row, key + e, start + key + e) - highest); }
    }
    sum += (w.x + w.y) + (w.z + w.w);
    W_store4(start + key, w);
  }
  shared_values[lane] = sum;
  workgroupBarrier();
  for (var distance = WORKGROUP / 2u; distance > 0u; distance /= 2u) {
    if (lane < distance) { shared_values[lane] += shared_values[lane + distance]; }
    workgroupBarrier();
  }
  if (lane == 0u) {
    let total = shared_values[0];
    F_store4(workgroup * 4u, vec4f(select(0.0, 1.0 / total, total > 0.0)));
  }
}
