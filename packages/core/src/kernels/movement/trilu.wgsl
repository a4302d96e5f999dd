// trilu.wgsl. Keeps one triangle of the matrices in the last two axes. Prelude provides: UPPER: bool; x; k, the
// diagonal that the triangle begins or ends with (one i32), where there is that operand: see diagonal().

fn element(at: Index) -> Scalar {
  let distance = i32(at[RANK - 1u]) - i32(at[RANK - 2u]);
  let keep = select(distance <= diagonal(), distance >= diagonal(), UPPER);
  return select(Scalar(0), Scalar(x_at(at)), keep);
}
