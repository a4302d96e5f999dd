// Running sums or products along an axis: LANES threads a line, WORKGROUP / LANES lines a workgroup. Tile after tile of
// LANES elements is scanned in workgroup memory (Hillis and Steele), carrying the total.
//
// Prelude: x_load, x_outer(line); y_store, y_outer(line); alias Scalar; initial() -> Scalar, combine(a, b);
// const WORKGROUP, LANES, EXCLUSIVE (without the element itself), REVERSE;
// params: lines, length, x_offset, x_stride, y_stride.

var<workgroup> memory: array<Scalar, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let line = flat_workgroup(id, grid) * (WORKGROUP / LANES) + thread / LANES;
  let lane = thread % LANES;
  let source = params.x_offset + x_outer(min(line, params.lines - 1u));
  let target_start = y_outer(min(line, params.lines - 1u));
  var carry = initial();
  for (var tile = 0u; tile < params.length; tile += LANES) {
    let position = tile + lane;
    let k = select(position, params.length - 1u - position, REVERSE);
    var sum = initial();
    if (position < params.length) { sum = x_load(source + k * params.x_stride); }
    memory[thread] = sum;
    workgroupBarrier();
    for (var step = 1u; step < LANES; step *= 2u) {
      var earlier = initial();
      if (lane >= step) { earlier = memory[thread - step]; }
      workgroupBarrier();
      sum = combine(earlier, sum);
      memory[thread] = sum;
      workgroupBarrier();
    }
    var before = initial();
    if (lane > 0u) { before = memory[thread - 1u]; }
    let all = memory[thread - lane + LANES - 1u];
    workgroupBarrier();
    if (position < params.length && line < params.lines) {
      y_store(target_start + k * params.y_stride, combine(carry, select(sum, before, EXCLUSIVE)));
    }
    carry = combine(carry, all);
  }
}
