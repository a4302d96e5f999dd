// scatter-nd.wgsl. x with slices replaced or combined. Every element of the output looks for the updates that hit it,
// in their order: no atomics, the same result at every run. Prelude provides, besides what indexed.ts does for x and
// updates ([rows, …slice]): DEPTH: u32, coordinates that name a slice; combine(); scattered(), from one of
// scatter-nd-rows.wgsl and scatter-nd-search.wgsl.

fn element(at: Index) -> Scalar {
  var slice = updates_Index();
  for (var axis = DEPTH; axis < RANK; axis++) { slice[axis - DEPTH + 1u] = at[axis]; }
  return scattered(at, slice, Scalar(x_at(at)));
}
