// indexed.wgsl. Entry point of the kernels that compute one element from its coordinates; see indexed.ts.
// Prelude provides: WORKGROUP, params.elements, fn coordinates(i: u32) -> Index, fn element(at: Index) -> Scalar.
// The last thread may overhang: it repeats the last element into the padding.

fn element_at(i: u32) -> Scalar { return element(coordinates(min(i, params.elements - 1u))); }

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = 4u * (flat_workgroup(id, grid) * WORKGROUP + lane);
  if (i >= params.elements) { return; }
  y_store4(i, vec4<Scalar>(element_at(i), element_at(i + 1u), element_at(i + 2u), element_at(i + 3u)));
}
