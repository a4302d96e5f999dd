// y between a (t = 0) and b (t = 1), row by row: along a line, or along the great circle between their directions (Shoemake
// 1985), where they do not point the same way. One workgroup a row of `params.elements`; sums are in f32.
// Prelude provides: WORKGROUP; accessors a_, b_ (read), y_ (write); params.

var<workgroup> partial: array<vec3f, WORKGROUP>;

// WGSL lets acos and sin be wrong in the fourth digit. Within 2e-8: Abramowitz and Stegun 4.4.46.
fn precise_acos(cosine: f32) -> f32 {
  let x = abs(cosine);
  var sum = -0.0012624911;
  sum = fma(sum, x, 0.0066700901);
  sum = fma(sum, x, -0.0170881256);
  sum = fma(sum, x, 0.0308918810);
  sum = fma(sum, x, -0.0501743046);
  sum = fma(sum, x, 0.0889789874);
  sum = fma(sum, x, -0.2145988016);
  sum = fma(sum, x, 1.5707963050);
  let angle = sqrt(1.0 - x) * sum;
  return select(angle, 3.14159265 - angle, cosine < 0.0);
}

// Its series up to x¹¹, between -π/2 and π/2: within 6e-8.
fn precise_sin(angle: f32) -> f32 {
  let turned = angle - 6.28318531 * round(angle / 6.28318531);
  let folded = select(turned, sign(turned) * 3.14159265 - turned, abs(turned) > 1.57079633);
  let square = folded * folded;
  var sum = -1.0 / 39916800.0;
  sum = fma(sum, square, 1.0 / 362880.0);
  sum = fma(sum, square, -1.0 / 5040.0);
  sum = fma(sum, square, 1.0 / 120.0);
  sum = fma(sum, square, -1.0 / 6.0);
  return folded * fma(sum, square, 1.0);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = flat_workgroup(id, grid) * params.elements;
  var sums = vec3f(0.0);
  for (var i = first + lane; i < first + params.elements; i += WORKGROUP) {
    let a = a_load(i);
    let b = b_load(i);
    sums += vec3f(a * a, b * b, a * b);
  }
  partial[lane] = sums;
  workgroupBarrier();
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  var weights = vec2f(1.0 - params.t, params.t);
  let cosine = partial[0].z * inverseSqrt(partial[0].x) * inverseSqrt(partial[0].y);
  if (params.spherical != 0u && abs(cosine) < 0.9995) {
    let angle = precise_acos(cosine);
    weights = vec2f(precise_sin(weights.x * angle), precise_sin(weights.y * angle)) / precise_sin(angle);
  }
  for (var i = first + lane; i < first + params.elements; i += WORKGROUP) {
    y_store(i, weights.x * a_load(i) + weights.y * b_load(i));
  }
}
