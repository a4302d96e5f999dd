// Quantizes a dense table in blocks of neighbours, once at load, two integers of 4 bits or one of 8 to a byte in their own
// order. A thread makes four blocks.
// Prelude: quantize_block.wgsl, W_load, X_store4, S_store4, WORKGROUP, BITS, BLOCK; params threads, blocks, w_offset.

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.threads) { return; }
  var scales = vec4f();
  for (var b = 0u; b < 4u; b++) {
    let block = 4u * i + b;
    if (block >= params.blocks) { break; }
    let first = params.w_offset + block * BLOCK;
    var least = 0.0;
    var most = 0.0;
    for (var k = 0u; k < BLOCK; k++) {
      let w = W_load(first + k);
      least = min(least, w);
      most = max(most, w);
    }
    let scale = block_scale(least, most);
    scales[b] = scale;
    const PER_WORD = 32u / BITS;
    for (var k = 0u; k < BLOCK; k += 4u * PER_WORD) {
      var words = vec4u();
      for (var e = 0u; e < 4u * PER_WORD; e++) {
        words[e / PER_WORD] |= block_integer(W_load(first + k + e), scale) << (BITS * (e % PER_WORD));
      }
      X_store4((block * BLOCK + k) / PER_WORD, words);
    }
  }
  S_store4(4u * i, scales);
}
