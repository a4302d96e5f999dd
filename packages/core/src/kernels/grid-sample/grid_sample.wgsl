// Helpers of GridSample: what one axis of the picture contributes. Follows the reference implementation in ONNX.
//
// Prelude: const MODE (0 nearest, 1 linear, 2 cubic), PADDING (0 zeros, 1 border, 2 reflection), ALIGN_CORNERS.

/** Mirrors `x` at `low` and `high` until it lies between them. */
fn reflected(x: f32, low: f32, high: f32) -> f32 {
  let range = high - low;
  if (range <= 0.0) { return low; }
  let distance = select(x - high, low - x, x < low);
  if (distance <= 0.0) { return x; }
  let turns = floor(distance / range);
  let rest = distance - turns * range;
  let from_low = (x < low) == (turns % 2.0 == 0.0);
  return select(high - rest, low + rest, from_low);
}

/** From -1…1 to elements of an axis of `size`; inside of the picture, unless what is outside counts as zeros. */
fn coordinate(normalized: f32, size: f32) -> f32 {
  var x = select(((normalized + 1.0) * size - 1.0) * 0.5, (normalized + 1.0) * 0.5 * (size - 1.0), ALIGN_CORNERS);
  if (MODE == 0u) { x = round(x); }
  let low = select(-0.5, 0.0, ALIGN_CORNERS);
  let high = size - select(0.5, 1.0, ALIGN_CORNERS);
  if (x < low || x > high) {
    if (PADDING == 1u) { x = clamp(x, 0.0, size - 1.0); }
    if (PADDING == 2u) { x = reflected(x, low, high); }
  }
  // Far outside everything is alike, and i32 holds it.
  return clamp(x, -1e6, 1e6);
}

/** Index of the first of the elements that are blended. */
fn first_tap(x: f32) -> i32 {
  return i32(floor(x)) - select(0, 1, MODE == 2u);
}

/** Weight of element `k` of those, at `x - floor(x)` between the two in the middle. */
fn tap_weight(k: i32, rest: f32) -> f32 {
  if (MODE == 0u) { return 1.0; }
  if (MODE == 1u) { return select(rest, 1.0 - rest, k == 0); }
  // Keys' cubic kernel with coefficient -0.75.
  let z = abs(f32(k - 1) - rest);
  if (z <= 1.0) { return (1.25 * z - 2.25) * z * z + 1.0; }
  return ((-0.75 * z + 3.75) * z - 6.0) * z + 3.0;
}

/** 0 for an element outside of a picture that is padded with zeros. */
fn tap_factor(p: i32, size: i32) -> f32 {
  return select(1.0, 0.0, PADDING == 0u && (p < 0 || p >= size));
}

/** The element that stands for `p`. */
fn tap_index(p: i32, size: i32) -> u32 {
  if (PADDING == 2u && (p < 0 || p >= size)) {
    let low = select(-0.5, 0.0, ALIGN_CORNERS);
    let high = f32(size) - select(0.5, 1.0, ALIGN_CORNERS);
    return u32(clamp(i32(reflected(f32(p), low, high)), 0, size - 1));
  }
  return u32(clamp(p, 0, size - 1));
}
