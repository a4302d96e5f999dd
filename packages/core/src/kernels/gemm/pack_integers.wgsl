// Rearranges the integers of a quantized weight into [group][chunk of depth][column][word], once at load: what a column
// has in a chunk are the 16 bytes that a thread reads at once (32 depths of 4 bits, 16 of 8), and neighbouring columns
// lie beside each other. A word holds eight integers of 4 bits or four of 8, unsigned, in the order in which two halves
// are made of it at once: 0 2 4 6 1 3 5 7 (from the lowest bits), and 0 2 1 3. A thread writes what one column has in one
// chunk.
// Prelude: pack_address.wgsl, W_load, Y_store4, integer_at, WORKGROUP, BITS (4 or 8), BIAS (makes integers unsigned);
// params elements, columns, chunks, source_depth, offset, group_stride, column_stride.

const PER_WORD = 32u / BITS;

fn integer(first: u32, k: u32) -> u32 {
  if (k >= params.source_depth) { return 0u; }
  return u32(i32(W_load(integer_at(first + source_depth(k)))) + BIAS);
}

fn word(first: u32, k: u32) -> u32 {
  var bits = 0u;
  for (var i = 0u; i < PER_WORD; i++) {
    // Even ones in the lower half, odd ones in the upper.
    bits |= integer(first, k + i) << ((i >> 1u) * BITS + (i & 1u) * 16u);
  }
  return bits;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.elements) { return; }
  let column = source_column(i % params.columns);
  let chunk = (i / params.columns) % params.chunks;
  let group = i / params.columns / params.chunks;
  let first = params.offset + group * params.group_stride + column * params.column_stride;
  var words = vec4u();
  if (column < params.source_columns) {
    let k = chunk * 4u * PER_WORD;
    words = vec4u(word(first, k), word(first, k + PER_WORD), word(first, k + 2u * PER_WORD), word(first, k + 3u * PER_WORD));
  }
  Y_store4(4u * i, words);
}
