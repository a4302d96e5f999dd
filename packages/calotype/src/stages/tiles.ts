/** Where the tiles of one axis begin and how they are mixed. */
export interface AxisTiles {
  /** Elements of every tile. */
  size: number;
  /** First elements, in order. */
  starts: number[];
  /**
   * For each tile how much it counts at each of its `size · factor` pixels. Over all tiles the weights of a pixel add up
   * to 1.
   */
  weights: Float32Array<ArrayBuffer>[];
}

/**
 * Covers an axis with tiles of equal size whose neighbours overlap by `overlap` elements or a little more. Beside an inner
 * edge a tile does not count for a quarter of the overlap: there the decoder has missed what lies beyond. From there its
 * weight grows evenly over half of the overlap.
 *
 * @param factor pixels that an element becomes
 */
export function tileAxis(length: number, size: number, overlap: number, factor: number): AxisTiles {
  if (length <= size) {
    return { size: length, starts: [0], weights: [new Float32Array(length * factor).fill(1)] };
  }
  const count = Math.ceil((length - overlap) / (size - overlap));
  const starts = Array.from({ length: count }, (_, i) => Math.round((i * (length - size)) / (count - 1)));
  const pixels = size * factor;
  const rising = (pixel: number, shared: number): number => {
    const margin = shared / 4;
    return Math.min(1, Math.max(0, (pixel + 0.5 - margin) / (shared - 2 * margin)));
  };
  const weights = starts.map((start, i) => {
    const before = i === 0 ? 0 : (starts[i - 1]! + size - start) * factor;
    const after = i === count - 1 ? 0 : (start + size - starts[i + 1]!) * factor;
    return Float32Array.from({ length: pixels }, (_, pixel) => {
      const left = before === 0 ? 1 : rising(pixel, before);
      const right = after === 0 ? 1 : rising(pixels - 1 - pixel, after);
      return left * right;
    });
  });
  // Where three tiles meet the slopes of neighbours alone do not add up to 1.
  const sums = new Float64Array(length * factor);
  weights.forEach((own, i) => own.forEach((weight, pixel) => (sums[starts[i]! * factor + pixel]! += weight)));
  weights.forEach((own, i) => {
    for (let pixel = 0; pixel < own.length; pixel++) own[pixel]! /= sums[starts[i]! * factor + pixel]!;
  });
  return { size, starts, weights };
}
