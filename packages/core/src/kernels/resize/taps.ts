/** How one axis is resized, by ONNX's words for it (Resize, opset 19). */
export interface AxisResize {
  mode: 'nearest' | 'linear' | 'cubic';
  coordinates: CoordinateMode;
  nearest: NearestMode;
  /** Elements before and after. */
  from: number;
  to: number;
  /** As given or `to / from`; not necessarily the quotient of the sizes, which are rounded. */
  scale: number;
  /** Start and end of the region of interest, relative; for `tf_crop_and_resize`. */
  roi: readonly [number, number];
  /** Widens the window when the axis shrinks. */
  antialias: boolean;
  /** Leaves elements beyond the edges out instead of repeating the edge. */
  excludeOutside: boolean;
  cubicCoefficient: number;
}

export type CoordinateMode =
  | 'half_pixel'
  | 'half_pixel_symmetric'
  | 'pytorch_half_pixel'
  | 'align_corners'
  | 'asymmetric'
  | 'tf_crop_and_resize';

export type NearestMode = 'round_prefer_floor' | 'round_prefer_ceil' | 'floor' | 'ceil';

/** For each element of the result, `taps` elements of the operand and their weights. */
export interface Taps {
  taps: number;
  /** [to, taps]; -1 where the result is the extrapolation value. */
  indices: Int32Array<ArrayBuffer>;
  /** [to, taps]; absent where each result is one element as it is. */
  weights: Float32Array<ArrayBuffer> | undefined;
}

/** Computes in double precision what each element of the result is made of. */
export function tapsOf(axis: AxisResize): Taps {
  const taps = axis.mode === 'nearest' ? 1 : 2 * windowReach(axis) + 2;
  const indices = new Int32Array(axis.to * taps);
  const weights = new Float32Array(axis.to * taps);
  for (let x = 0; x < axis.to; x++) {
    const at = originalCoordinate(axis, x);
    const outside = axis.coordinates === 'tf_crop_and_resize' && (at < 0 || at > axis.from - 1);
    const window = outside ? undefined : windowAt(axis, at);
    for (let k = 0; k < taps; k++) {
      indices[x * taps + k] = window ? Math.min(Math.max(window.first + k, 0), axis.from - 1) : -1;
      weights[x * taps + k] = window?.weights[k] ?? 0;
    }
  }
  return { taps, indices, weights: axis.mode === 'nearest' ? undefined : weights };
}

/** Where an element of the result lies among those of the operand. */
function originalCoordinate({ coordinates, from, to, scale, roi }: AxisResize, x: number): number {
  const exact = scale * from;
  switch (coordinates) {
    case 'half_pixel':
      return (x + 0.5) / scale - 0.5;
    case 'half_pixel_symmetric':
      return (from / 2) * (1 - to / exact) + (x + 0.5) / scale - 0.5;
    case 'pytorch_half_pixel':
      return exact === 1 ? -0.5 : (x + 0.5) / scale - 0.5;
    case 'align_corners':
      return exact === 1 ? 0 : (x * (from - 1)) / (exact - 1);
    case 'asymmetric':
      return x / scale;
    case 'tf_crop_and_resize': {
      const [start, end] = roi;
      const inside =
        exact === 1 ? ((end - start) * (from - 1)) / 2 : (x * (end - start) * (from - 1)) / (exact - 1);
      return start * (from - 1) + inside;
    }
  }
}

interface Window {
  /** Index of the first element, before clamping to the operand. */
  first: number;
  weights: number[];
}

/** How much narrower the kernel is than the window that it is seen through. */
function stretchOf({ antialias, scale }: AxisResize): number {
  return antialias ? Math.min(scale, 1) : 1;
}

/** Elements that a window reaches over before the two in its middle, and as many after. */
function windowReach(axis: AxisResize): number {
  const reach = axis.mode === 'linear' ? 1 : 2;
  return -Math.floor(-reach / stretchOf(axis)) - 1;
}

function windowAt(axis: AxisResize, at: number): Window {
  const floor = Math.floor(at);
  if (axis.mode === 'nearest') return { first: nearestIndex(axis.nearest, at, floor), weights: [1] };
  // A whole coordinate counts as the right end of the interval before it, so that the ratio is in (0, 1].
  const ratio = at === floor ? 1 : at - floor;
  const left = at === floor ? floor - 1 : floor;
  const stretch = stretchOf(axis);
  const before = windowReach(axis);
  const first = left - before;
  const kernel = axis.mode === 'linear' ? triangle : (x: number) => cubic(x, axis.cubicCoefficient);
  const weights = Array.from({ length: 2 * before + 2 }, (_, k) => kernel(stretch * (k - before - ratio)));
  if (axis.excludeOutside) {
    weights.forEach((_, k) => {
      if (first + k < 0 || first + k >= axis.from) weights[k] = 0;
    });
  }
  const sum = weights.reduce((a, b) => a + b, 0);
  const normalize = (axis.antialias || axis.excludeOutside) && sum !== 0;
  return { first, weights: normalize ? weights.map((w) => w / sum) : weights };
}

function nearestIndex(mode: NearestMode, at: number, floor: number): number {
  const rest = at - floor;
  if (rest === 0) return floor;
  switch (mode) {
    case 'round_prefer_floor':
      return rest <= 0.5 ? floor : floor + 1;
    case 'round_prefer_ceil':
      return rest < 0.5 ? floor : floor + 1;
    case 'floor':
      return floor;
    case 'ceil':
      return floor + 1;
  }
}

function triangle(x: number): number {
  return Math.max(0, 1 - Math.abs(x));
}

/** Keys' cubic convolution kernel with coefficient `a` (https://doi.org/10.1109/TASSP.1981.1163711). */
function cubic(x: number, a: number): number {
  const z = Math.abs(x);
  if (z <= 1) return (a + 2) * z ** 3 - (a + 3) * z ** 2 + 1;
  return z < 2 ? a * z ** 3 - 5 * a * z ** 2 + 8 * a * z - 4 * a : 0;
}

/** The whole factor by which every element is repeated, if that is all that happens. */
export function repetition({ taps, indices, weights }: Taps, from: number): number | undefined {
  const factor = indices.length / taps / from;
  if (weights || taps !== 1 || !Number.isInteger(factor)) return undefined;
  return indices.every((index, x) => index === Math.floor(x / factor)) ? factor : undefined;
}
