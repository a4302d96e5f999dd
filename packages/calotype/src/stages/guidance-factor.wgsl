// Guidance rescale (Lin et al., arXiv 2305.08891, section 3.4): how much a guided answer is scaled so that its standard
// deviation comes back towards that of the answer with the prompt. One workgroup an image.
// Prelude provides: WORKGROUP; accessors output_ (read), factor_ (write); params.

var<workgroup> partial: array<vec2f, WORKGROUP>;

fn pair(image: u32, i: u32) -> vec2f {
  let at = image * params.imageElements + i;
  let without = output_load(params.without + at);
  let with_prompt = output_load(params.with_prompt + at);
  return vec2f(with_prompt, without + params.guidance * (with_prompt - without));
}

fn total(lane: u32, value: vec2f) -> vec2f {
  workgroupBarrier();
  partial[lane] = value;
  workgroupBarrier();
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  return partial[0];
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let image = flat_workgroup(id, grid);
  var sum = vec2f(0.0);
  for (var i = lane; i < params.imageElements; i += WORKGROUP) { sum += pair(image, i); }
  let mean = total(lane, sum) / f32(params.imageElements);
  sum = vec2f(0.0);
  for (var i = lane; i < params.imageElements; i += WORKGROUP) {
    let deviation = pair(image, i) - mean;
    sum += deviation * deviation;
  }
  let squares = total(lane, sum);
  if (lane == 0u && image < params.images) {
    factor_store(image, params.rescale * sqrt(squares.x / squares.y) + 1.0 - params.rescale);
  }
}
