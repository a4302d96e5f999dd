// reverse-sequence.wgsl. Reverses the first elements of the time axis, as many as each batch's length says.
// Prelude provides: x; lengths, one for each batch; BATCH_AXIS, TIME_AXIS: u32.

fn element(at: Index) -> Scalar {
  let length = u32(lengths_at(lengths_Index(at[BATCH_AXIS])));
  var origin = at;
  if (at[TIME_AXIS] < length) { origin[TIME_AXIS] = length - 1u - at[TIME_AXIS]; }
  return Scalar(x_at(origin));
}
