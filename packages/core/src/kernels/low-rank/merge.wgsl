// result = weight + up · down, for a weight whose elements lie in any order of [out, in, tap].
//
// up [outs, rank] and down [rank, ins, taps] are row-major; the scale is in up. An invocation makes four neighbouring
// elements in f32 and rounds them once.
//
// Prelude: WORKGROUP, and `put(i, v)`, which stores elements i … i+3.

fn change(element: u32) -> f32 {
  let row = ((element / params.outStride) % params.outs) * params.rank;
  let columns = params.ins * params.taps;
  let column =
    ((element / params.inStride) % params.ins) * params.taps + (element / params.tapStride) % params.taps;
  var sum = 0.0;
  for (var r = 0u; r < params.rank; r++) {
    sum = fma(up_load(row + r), down_load(r * columns + column), sum);
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = (flat_workgroup(group, groups) * WORKGROUP + lane) * 4u;
  if (first >= params.elements) { return; }
  let delta = vec4f(change(first), change(first + 1u), change(first + 2u), change(first + 3u));
  put(first, weight_load4(first) + delta);
}
