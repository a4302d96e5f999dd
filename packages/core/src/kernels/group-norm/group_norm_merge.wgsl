// In place of the first dispatch of GroupNorm, where the producer of the tensor left moments: mean and sum of squared
// deviations of each group, from those of equally large parts of it, which lie one after the other. One workgroup for each
// sample and group.
//
// Prelude: moments_load, partials_store; total(v, thread), the sum over the workgroup; const WORKGROUP;
// params: groups (of all samples), moments (parts of a group), elements (of a part).

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = flat_workgroup(id, grid);
  if (group >= params.groups) { return; }
  let first = group * params.moments;
  let count = f32(params.moments);

  // Means are merged as deviations from one of them: sums of many large numbers would lose digits.
  let shift = moments_load(2u * first);
  var own = 0.0;
  for (var k = thread; k < params.moments; k += WORKGROUP) { own += moments_load(2u * (first + k)) - shift; }
  let offset = total(own, thread) / count;
  var squares = 0.0;
  for (var k = thread; k < params.moments; k += WORKGROUP) {
    let delta = moments_load(2u * (first + k)) - shift - offset;
    squares += moments_load(2u * (first + k) + 1u) + f32(params.elements) * delta * delta;
  }
  squares = total(squares, thread);
  if (thread == 0u) {
    partials_store(2u * group, shift + offset);
    partials_store(2u * group + 1u, squares);
  }
}
