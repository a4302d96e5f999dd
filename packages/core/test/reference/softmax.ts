/** exp(x - max) / Σ exp(x - max) over each run of `length` elements. */
export function softmaxRows(x: ArrayLike<number>, length: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += length) {
    let top = -Infinity;
    for (let k = row; k < row + length; k++) top = Math.max(top, x[k]!);
    let sum = 0;
    for (let k = row; k < row + length; k++) sum += y[k] = Math.exp(x[k]! - top);
    for (let k = row; k < row + length; k++) y[k]! /= sum;
  }
  return y;
}
