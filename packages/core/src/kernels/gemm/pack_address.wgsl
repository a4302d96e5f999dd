// Where an element of a packed weight comes from. Prelude: GATED; params size0 … size3, stride0 … stride3, source_columns, source_depth, offset,
// group_stride, column_stride; part_start, part_end (elements of the weight that are bound, which may be a part of it).

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

// Element of the bound part.
fn source_at(group: u32, k: u32, column: u32) -> u32 {
  return params.offset + group * params.group_stride + column * params.column_stride + source_depth(k) - params.part_start;
}

// Whether what is packed of (k, n) and its neighbours comes from the bound part. Padding comes with the first.
fn in_part(group: u32, k: u32, n: u32) -> bool {
  let column = source_column(n);
  if (k >= params.source_depth || column >= params.source_columns) { return params.part_start == 0u; }
  return source_at(group, k, column) < params.part_end - params.part_start;
}
