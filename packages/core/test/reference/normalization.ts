import { sizeOf, type Shape } from '../../src/tensor/shape.ts';

/** (x - mean) / sqrt(variance + epsilon) over each run of `length` elements; without the mean for RMSNorm. */
export function normalizeRows(
  x: ArrayLike<number>,
  length: number,
  epsilon: number,
  center = true,
): { y: Float64Array; mean: Float64Array; inverseDeviation: Float64Array } {
  const rows = x.length / length;
  const y = new Float64Array(x.length);
  const means = new Float64Array(rows);
  const deviations = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let k = 0; k < length; k++) sum += x[row * length + k]!;
    const mean = center ? sum / length : 0;
    let squares = 0;
    for (let k = 0; k < length; k++) squares += (x[row * length + k]! - mean) ** 2;
    const factor = 1 / Math.sqrt(squares / length + epsilon);
    for (let k = 0; k < length; k++) y[row * length + k] = (x[row * length + k]! - mean) * factor;
    means[row] = mean;
    deviations[row] = factor;
  }
  return { y, mean: means, inverseDeviation: deviations };
}

/** Group normalization of [N, C, …] with scale and bias by channel. */
export function groupNorm(
  x: ArrayLike<number>,
  shape: Shape,
  groups: number,
  epsilon: number,
  scale: ArrayLike<number>,
  bias: ArrayLike<number>,
): Float64Array {
  const [, channels = 1, ...spatial] = shape;
  const positions = sizeOf(spatial);
  const { y } = normalizeRows(x, (channels / groups) * positions, epsilon);
  return y.map((v, i) => {
    const channel = Math.floor(i / positions) % channels;
    return v * scale[channel]! + bias[channel]!;
  });
}
