// Rearranges a weight into [group][depth][column] (or [group][column][depth]) with zero padding, once at load.
// A thread writes four neighbouring elements.
// Prelude: pack_address.wgsl, W_load, Y_store4, WORKGROUP, BY_COLUMN; params below.

fn element(group: u32, k: u32, n: u32) -> f32 {
  let column = source_column(n);
  if (k >= params.source_depth || column >= params.source_columns) { return 0.0; }
  return W_load(source_at(group, k, column));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + lane);
  if (i >= params.elements) { return; }
  let inner = select(params.columns, params.depth, BY_COLUMN);
  let outer = select(params.depth, params.columns, BY_COLUMN);
  let fast = i % inner;
  let slow = (i / inner) % outer;
  let group = i / inner / outer;
  if (!in_part(group, select(slow, fast, BY_COLUMN), select(fast, slow, BY_COLUMN))) { return; }
  var v: vec4f;
  if (BY_COLUMN) {
    v = vec4f(element(group, fast, slow), element(group, fast + 1u, slow), element(group, fast + 2u, slow), element(group, fast + 3u, slow));
  } else {
    v = vec4f(element(group, slow, fast), element(group, slow, fast + 1u), element(group, slow, fast + 2u), element(group, slow, fast + 3u));
  }
  Y_store4(i, v);
}
