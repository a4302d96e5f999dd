// Quantizes a float weight while it is packed, once at load: integers as pack_integers.wgsl lays them down, scales as
// pack_scales.wgsl does. A thread makes one block of depth of four neighbouring columns.
// Prelude: pack_address.wgsl, quantize_block.wgsl, W_load, Q_store4, S_store4, WORKGROUP, BITS, BLOCK (a multiple of 32);
// params threads, columns, chunks, runs, source_depth, offset, group_stride, column_stride.

const PER_WORD = 32u / BITS;
// Depth of a chunk.
const CHUNK = 4u * PER_WORD;

fn weight(group: u32, k: u32, column: u32) -> f32 {
  if (k >= params.source_depth) { return 0.0; }
  return W_load(source_at(group, k, column));
}

fn word(group: u32, k: u32, column: u32, scale: f32) -> u32 {
  var bits = 0u;
  for (var i = 0u; i < PER_WORD; i++) {
    bits |= block_integer(weight(group, k + i, column), scale) << ((i >> 1u) * BITS + (i & 1u) * 16u);
  }
  return bits;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.threads) { return; }
  let n = (4u * i) % params.columns;
  let run = (4u * i / params.columns) % params.runs;
  let group = 4u * i / params.columns / params.runs;
  let k0 = run * BLOCK;
  if (!in_part(group, k0, n)) { return; }
  var scales = vec4f();
  for (var c = 0u; c < 4u; c++) {
    let column = source_column(n + c);
    if (column >= params.source_columns) { continue; }
    var least = 0.0;
    var most = 0.0;
    for (var k = 0u; k < BLOCK; k++) {
      let w = weight(group, k0 + k, column);
      least = min(least, w);
      most = max(most, w);
    }
    let scale = block_scale(least, most);
    scales[c] = scale;
    for (var chunk = k0 / CHUNK; chunk < min(params.chunks, (k0 + BLOCK) / CHUNK); chunk++) {
      let k = chunk * CHUNK;
      Q_store4(((group * params.chunks + chunk) * params.columns + n + c) * 4u, vec4u(
        word(group, k, column, scale), word(group, k + PER_WORD, column, scale),
        word(group, k + 2u * PER_WORD, column, scale), word(group, k + 3u * PER_WORD, column, scale)));
    }
  }
  S_store4(4u * i, scales);
}
