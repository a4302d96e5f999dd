// Rearranges the scales of a quantized weight into [group][run of depth][column], once at load; where zero points differ
// too, into pairs of both. A thread writes those of four neighbouring columns.
// Prelude: pack_address.wgsl, S_load, Y_store4, scale_at, zero_of, WORKGROUP, PAIRED; params elements, columns, runs,
// run (depths that share a scale), offset, group_stride, column_stride.

fn pair(group: u32, k: u32, n: u32) -> vec2f {
  let column = source_column(n);
  if (column >= params.source_columns) { return vec2f(); }
  let e = params.offset + group * params.group_stride + column * params.column_stride + source_depth(k);
  return vec2f(S_load(scale_at(e)), zero_of(e));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.elements) { return; }
  let n = (4u * i) % params.columns;
  let run = (4u * i / params.columns) % params.runs;
  let group = 4u * i / params.columns / params.runs;
  let k = run * params.run;
  let a = pair(group, k, n);
  let b = pair(group, k, n + 1u);
  let c = pair(group, k, n + 2u);
  let d = pair(group, k, n + 3u);
  if (PAIRED) {
    Y_store4(8u * i, vec4f(a, b));
    Y_store4(8u * i + 4u, vec4f(c, d));
  } else {
    Y_store4(4u * i, vec4f(a.x, b.x, c.x, d.x));
  }
}
