// Sums the products that `winograd.ts` makes of a 4x4 patch over the slices of the depth, transforms them to a 2x2 patch of
// the output, and finishes that. A thread takes four columns of one patch.
// Prelude: P_load4, Y_store4, epilogue, WORKGROUP; params patches, columns, patch_rows, patch_columns, height, width,
// pitch, slices, slice.

fn put(image: u32, y: u32, x: u32, n: u32, v: vec4f) {
  if (y >= params.height || x >= params.width) { return; }
  let i = ((image * params.height + y) * params.width + x) * params.pitch + n;
  Y_store4(i, epilogue(v, i));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  let groups = params.columns / 4u;
  if (i >= params.patches * groups) { return; }
  let patch_index = i / groups;
  let n = i % groups * 4u;
  let plane = params.patches * params.columns;
  // Aᵀ is (1 1 1 0; 0 1 -1 -1): rows first, then columns.
  var upper: array<vec4f, 4>;
  var lower: array<vec4f, 4>;
  for (var x = 0u; x < 4u; x++) {
    var p: array<vec4f, 4>;
    for (var y = 0u; y < 4u; y++) {
      let at = (y * 4u + x) * plane + i * 4u;
      var sum = P_load4(at);
      for (var s = 1u; s < params.slices; s++) { sum += P_load4(s * params.slice + at); }
      p[y] = sum;
    }
    upper[x] = p[0] + p[1] + p[2];
    lower[x] = p[1] - p[2] - p[3];
  }
  let x0 = patch_index % params.patch_columns * 2u;
  let rest = patch_index / params.patch_columns;
  let y0 = rest % params.patch_rows * 2u;
  let image = rest / params.patch_rows;
  put(image, y0, x0, n, upper[0] + upper[1] + upper[2]);
  put(image, y0, x0 + 1u, n, upper[1] - upper[2] - upper[3]);
  put(image, y0 + 1u, x0, n, lower[0] + lower[1] + lower[2]);
  put(image, y0 + 1u, x0 + 1u, n, lower[1] - lower[2] - lower[3]);
}
