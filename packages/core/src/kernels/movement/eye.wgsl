// eye.wgsl. Ones on the diagonal that lies k columns right of the main one. Params: k: i32.

fn element(at: Index) -> Scalar { return select(Scalar(0), Scalar(1), i32(at[1]) == i32(at[0]) + params.k); }
