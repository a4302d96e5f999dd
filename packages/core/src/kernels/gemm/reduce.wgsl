// Sums the partial results that workgroups with a share of the depth left, and finishes them.
// A thread makes four neighbouring outputs.
// Prelude: P_load, P_load4, Y_store4, epilogue, WORKGROUP, WHOLE_GROUPS (rows are whole groups of four columns, so that
// the partial sums lie exactly like the output), GATED (the sums are pairs of groups, which `gated` combines); params
// elements, slices, slice, columns, pitch.

fn partial_group(at: u32) -> vec4f {
  var sum = vec4f();
  for (var s = 0u; s < params.slices; s++) { sum += P_load4(s * params.slice + at); }
  return sum;
}

fn partial_sum(i: u32) -> f32 {
  let at = (i / params.columns) * params.pitch + i % params.columns;
  var sum = 0.0;
  for (var s = 0u; s < params.slices; s++) { sum += P_load(s * params.slice + at); }
  return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + lane);
  if (i >= params.elements) { return; }
  var v = vec4f();
  if (GATED) {
    let n = i % params.columns;
    v = gated(partial_group(2u * i), partial_group(2u * i + 4u), n);
  } else if (WHOLE_GROUPS) {
    v = partial_group(i);
  } else {
    // The last group may overhang; what it reads there is never seen.
    let last = params.elements - 1u;
    v = vec4f(partial_sum(i), partial_sum(min(i + 1u, last)), partial_sum(min(i + 2u, last)), partial_sum(min(i + 3u, last)));
  }
  Y_store4(i, epilogue(v, i));
}
