// Multiplies the embeddings of a window's tokens by their weights, then all of the window by the number that gives it
// back its mean. A mean that is nothing but rounding, before or after, is not given back. One workgroup a window of `params.tokens` × `params.channels` elements; sums are in f32.
// Prelude provides: WORKGROUP; accessors x_, weights_ (read), y_ (write); params.

var<workgroup> partial: array<vec4f, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let window = flat_workgroup(id, grid);
  let elements = params.tokens * params.channels;
  let first = window * elements;
  var sums = vec4f(0.0);
  for (var i = lane; i < elements; i += WORKGROUP) {
    let value = x_load(first + i);
    let weighed = value * weights_load(window * params.tokens + i / params.channels);
    sums += vec4f(value, weighed, abs(value), abs(weighed));
  }
  partial[lane] = sums;
  workgroupBarrier();
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let total = partial[0];
  let hasMean = abs(total.x) > 1e-4 * total.z && abs(total.y) > 1e-4 * total.w;
  let factor = select(1.0, total.x / total.y, hasMean);
  for (var i = lane; i < elements; i += WORKGROUP) {
    let weight = weights_load(window * params.tokens + i / params.channels);
    y_store(first + i, x_load(first + i) * weight * factor);
  }
}
