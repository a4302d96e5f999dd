// One step of any sampler, guidance included: all of it is a linear combination for each element.
// Prelude provides: WORKGROUP; accessors sample_, output_, factor_, history_, noise_, plan_ (read), next_,
// next_history_ (write); params.
//
// `output` holds the answers of a whole batch; this job's begin at `params.with_prompt`, and with guidance those without
// the prompt at `params.without`. Where the model answers in patches (`params.patchSize` > 1), they are taken apart.
// `factor` holds what guidance rescale multiplies each image's answer by. `history` holds the slots one after the
// other. `plan` is a packed sampler plan: a header of 8 floats a step, then a row of weights for the next sample and
// one for each slot; columns are sample, output, x0, noise, slots. A weight of zero means that the operand is not
// read: it may hold anything.

fn weighed(weight: f32, value: f32) -> f32 {
  return select(weight * value, 0.0, weight == 0.0);
}

fn combine(row: u32, i: u32, base: vec4f) -> f32 {
  var sum = 0.0;
  for (var column = 0u; column < 4u; column++) {
    sum += weighed(plan_load(row + column), base[column]);
  }
  for (var slot = 0u; slot < params.slots; slot++) {
    sum += weighed(plan_load(row + 4u + slot), history_load(slot * params.elements + i));
  }
  return sum;
}

/** Where the model's answer for element i lies among the job's. */
fn answer(i: u32) -> u32 {
  if (params.patchSize == 1u) { return i; }
  let plane = params.height * params.width;
  let channel = i / plane % params.channels;
  let y = i % plane / params.width;
  let x = i % params.width;
  let places = params.patchSize * params.patchSize;
  let token = y / params.patchSize * (params.width / params.patchSize) + x / params.patchSize;
  let feature = channel * places + y % params.patchSize * params.patchSize + x % params.patchSize;
  return i / (plane * params.channels) * plane * params.channels + token * params.channels * places + feature;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.elements) { return; }
  let step = params.step * params.stride;
  let at = answer(i);
  var output = output_load(params.with_prompt + at);
  if (params.guided != 0u) {
    let without = output_load(params.without + at);
    output = without + params.guidance * (output - without);
    if (params.rescaled != 0u) { output *= factor_load(i / (params.height * params.width * params.channels)); }
  }
  let sample = sample_load(i);
  let limit = plan_load(step + 3u);
  let x0 = clamp(plan_load(step + 1u) * sample + plan_load(step + 2u) * output, -limit, limit);
  let base = vec4f(sample, output, x0, noise_load(i));

  let columns = 4u + params.slots;
  let rows = step + 8u;
  next_store(i, combine(rows, i, base));
  for (var slot = 0u; slot < params.slots; slot++) {
    next_history_store(slot * params.elements + i, combine(rows + (slot + 1u) * columns, i, base));
  }
}
