// dequantize.wgsl. (x - zero) · scale, where BLOCK neighbours along AXIS share a scale and a zero point. Prelude
// provides, besides what indexed.ts does for x and scale (and zero, read by zero_point()): AXIS, BLOCK: u32.

fn element(at: Index) -> Scalar {
  var group = at;
  group[AXIS] = at[AXIS] / BLOCK;
  return (f32(x_at(at)) - zero_point(group)) * scale_at(group);
}
