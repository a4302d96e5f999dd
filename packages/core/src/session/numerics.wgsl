// Writes 1 to found[0] when x holds a NaN or an infinity, else 0. One workgroup; each lane looks at every 256th
// element. f16 stores saturate, so an infinity of f16 can only come from a caller.

var<workgroup> any_bad: atomic<u32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var bad = false;
  for (var i = lane; i < params.elements; i += 256u) {
    // Exponent bits all set. Compilers may assume that floats are finite; bits they leave alone.
    bad = bad || (bitcast<u32>(x_load(i)) & 0x7f800000u) == 0x7f800000u;
  }
  if (bad) { atomicStore(&any_bad, 1u); }
  workgroupBarrier();
  if (lane == 0u) { found_store4(0u, vec4u(atomicLoad(&any_bad), 0u, 0u, 0u)); }
}
