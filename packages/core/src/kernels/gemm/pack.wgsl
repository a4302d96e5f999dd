// Rearranges a weight into [group][depth][column] (or [group][column][depth]) with zero padding, once at load.
// A thread writes four neighbouring elements.
// Prelude: W_load, Y_store4, WORKGROUP, BY_COLUMN, GATED; params below.

// Depth is up to four axes of the source, slowest first.
fn source_depth(k: u32) -> u32 {
  let k3 = k % params.size3;
  let r3 = k / params.size3;
  let k2 = r3 % params.size2;
  let r2 = r3 / params.size2;
  let k1 = r2 % params.size1;
  let k0 = r2 / params.size1;
  return k0 * params.stride0 + k1 * params.stride1 + k2 * params.stride2 + k3 * params.stride3;
}

// With a gate, columns come in groups of eight: four of the left operand, then four of the right.
// Returns params.source_columns (out of range) for padding.
fn source_column(n: u32) -> u32 {
  if (!GATED) { return n; }
  let half = params.source_columns / 2u;
  let column = (n / 8u) * 4u + (n & 3u);
  return select(params.source_columns, column + select(0u, half, (n & 4u) != 0u), column < half);
}

fn element(group: u32, k: u32, n: u32) -> f32 {
  let column = source_column(n);
  if (k >= params.source_depth || column >= params.source_columns) { return 0.0; }
  return W_load(params.offset + group * params.group_stride + column * params.column_stride + source_depth(k));
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
  var v: vec4f;
  if (BY_COLUMN) {
    v = vec4f(element(group, fast, slow), element(group, fast + 1u, slow), element(group, fast + 2u, slow), element(group, fast + 3u, slow));
  } else {
    v = vec4f(element(group, slow, fast), element(group, slow, fast + 1u), element(group, slow, fast + 2u), element(group, slow, fast + 3u));
  }
  Y_store4(i, v);
}
