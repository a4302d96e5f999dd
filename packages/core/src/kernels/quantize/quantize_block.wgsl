// The scheme by which a session quantizes weights, exact whatever the rounding of the device: a block's scale is the
// smallest half that reaches its largest element, an integer the nearest to the quotient, halfway to the even one.
// The same in float64: tensor/quantize-block.ts. Prelude: BITS (4 or 8).

fn half(bits: u32) -> f32 { return unpack2x16float(bits).x; }

// The smallest half of which `levels` times is at least m. The products have at most 18 bits.
fn smallest_half(m: f32, levels: f32) -> f32 {
  var bits = pack2x16float(vec2f(min(m / levels, 65504.0), 0.0)) & 0xffffu;
  for (var i = 0u; i < 2u && bits > 0u && half(bits - 1u) * levels >= m; i++) { bits -= 1u; }
  for (var i = 0u; i < 2u && bits < 0x7bffu && half(bits) * levels < m; i++) { bits += 1u; }
  return half(bits);
}

// 4 bits reach from -8 to 7: the element of largest magnitude becomes -8, so the scale may be negative.
fn block_scale(least: f32, most: f32) -> f32 {
  let m = max(most, -least);
  if (BITS == 8u) { return smallest_half(m, 127.0); }
  let s = smallest_half(m, 8.0);
  return select(s, -s, most >= -least);
}

// round(w / scale), unsigned. What is left after the first guess is exact, and corrects it.
fn block_integer(w: f32, scale: f32) -> u32 {
  let middle = i32(1u << (BITS - 1u));
  if (scale == 0.0) { return u32(middle); }
  let guess = round(w * (1.0 / scale));
  let rest = (w - guess * scale) * sign(scale);
  let edge = 0.5 * abs(scale);
  let odd = (i32(guess) & 1) != 0;
  let up = rest > edge || (rest == edge && odd);
  let down = rest < -edge || (rest == -edge && odd);
  let q = i32(guess) + select(0, 1, up) - select(0, 1, down);
  return u32(clamp(q, select(-8, -127, BITS == 8u), select(7, 127, BITS == 8u)) + middle);
}
