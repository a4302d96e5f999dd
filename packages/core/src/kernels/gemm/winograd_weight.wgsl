// Transforms 3x3 kernels for `winograd.ts`: G g Gᵀ, as [element][channel][column]. A thread takes one channel of four
// columns.
// Prelude: W_load, Y_store4, WORKGROUP; params offset, columns, channels, column_stride, channel_stride, tap_row,
// tap_column.

/// G times a column of three.
fn along(a: vec4f, b: vec4f, c: vec4f) -> array<vec4f, 4> {
  return array<vec4f, 4>(a, 0.5 * (a + b + c), 0.5 * (a - b + c), c);
}

fn tap(at: u32, y: u32, x: u32) -> vec4f {
  let i = at + y * params.tap_row + x * params.tap_column;
  let step = params.column_stride;
  return vec4f(W_load(i), W_load(i + step), W_load(i + 2u * step), W_load(i + 3u * step));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  let groups = params.columns / 4u;
  if (i >= params.channels * groups) { return; }
  let channel = i / groups;
  let n = i % groups * 4u;
  let at = params.offset + n * params.column_stride + channel * params.channel_stride;
  var rows: array<array<vec4f, 4>, 3>;
  for (var x = 0u; x < 3u; x++) { rows[x] = along(tap(at, 0u, x), tap(at, 1u, x), tap(at, 2u, x)); }
  let plane = params.channels * params.columns;
  for (var y = 0u; y < 4u; y++) {
    let line = along(rows[0][y], rows[1][y], rows[2][y]);
    for (var x = 0u; x < 4u; x++) { Y_store4((y * 4u + x) * plane + channel * params.columns + n, line[x]); }
  }
}
