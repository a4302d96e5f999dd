// One step of any sampler, guidance included: all of it is a linear combination for each element.
// Prelude provides: WORKGROUP; accessors sample_, output_, history_, noise_, plan_ (read), next_, next_history_,
// model_input_ (write); params.
//
// `output` holds the model's answer for `params.elements` elements, or with guidance twice that: first the one without
// the prompt, then the one with it. `history` holds the slots one after the other. `plan` is a packed sampler plan:
// a header of 8 floats a step, then a row of weights for the next sample and one for each slot; columns are
// sample, output, x0, noise, slots. A weight of zero means that the operand is not read: it may hold anything.

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

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.elements) { return; }
  let step = params.step * params.stride;
  var output = output_load(i);
  if (params.guided != 0u) {
    output += params.guidance * (output_load(params.elements + i) - output);
  }
  let sample = sample_load(i);
  let limit = plan_load(step + 3u);
  let x0 = clamp(plan_load(step + 1u) * sample + plan_load(step + 2u) * output, -limit, limit);
  let base = vec4f(sample, output, x0, noise_load(i));

  let columns = 4u + params.slots;
  let rows = step + 8u;
  let next = combine(rows, i, base);
  next_store(i, next);
  for (var slot = 0u; slot < params.slots; slot++) {
    next_history_store(slot * params.elements + i, combine(rows + (slot + 1u) * columns, i, base));
  }
  let input = params.nextInputScale * next;
  for (var copy = 0u; copy < params.copies; copy++) { model_input_store(copy * params.elements + i, input); }
}
