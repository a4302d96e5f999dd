// range.wgsl. An arithmetic sequence. Params: start, delta, of the output's type (i32 for unsigned ones).

fn element(at: Index) -> Scalar { return Scalar(params.start) + Scalar(at[0]) * Scalar(params.delta); }
