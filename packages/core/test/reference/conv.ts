import type { Shape } from '../../src/tensor/shape.ts';
import { sizeOf, stridesOf } from '../../src/tensor/shape.ts';

interface Image {
  shape: Shape;
  data: ArrayLike<number>;
}

export interface ConvOptions {
  strides: readonly number[];
  dilations: readonly number[];
  /** Before each axis. */
  pads: readonly number[];
  groups: number;
  bias?: ArrayLike<number>;
}

/** Convolution of [N, C, …] in f64 into an output whose spatial shape is given. */
export function convReference(x: Image, w: Image, spatial: Shape, options: ConvOptions): Float64Array {
  const [outputs, inputs] = [w.shape[0]!, w.shape[1]!];
  return accumulate(
    x,
    w,
    spatial,
    outputs,
    options,
    (o, c, tap, kernel) => ({
      channel: Math.floor(o / (outputs / options.groups)) * inputs + c,
      weight: (o * inputs + c) * kernel + tap,
    }),
    inputs,
    (out, t, d) => out * options.strides[d]! - options.pads[d]! + t * options.dilations[d]!,
  );
}

/** Transposed convolution: weights [C, O / groups, …]. */
export function convTransposeReference(
  x: Image,
  w: Image,
  spatial: Shape,
  options: ConvOptions,
): Float64Array {
  const perGroup = w.shape[1]!;
  const inputs = w.shape[0]! / options.groups;
  return accumulate(
    x,
    w,
    spatial,
    perGroup * options.groups,
    options,
    (o, c, tap, kernel) => {
      const channel = Math.floor(o / perGroup) * inputs + c;
      return { channel, weight: (channel * perGroup + (o % perGroup)) * kernel + tap };
    },
    inputs,
    (out, t, d) => {
      const at = out + options.pads[d]! - t * options.dilations[d]!;
      const stride = options.strides[d]!;
      return at % stride === 0 ? at / stride : -1;
    },
  );
}

function accumulate(
  x: Image,
  w: Image,
  spatial: Shape,
  outputs: number,
  options: ConvOptions,
  place: (o: number, c: number, tap: number, kernel: number) => { channel: number; weight: number },
  inputs: number,
  source: (out: number, tap: number, axis: number) => number,
): Float64Array {
  const kernel = w.shape.slice(2);
  const size = x.shape.slice(2);
  const xStrides = stridesOf(x.shape);
  const pixels = sizeOf(spatial);
  const taps = sizeOf(kernel);
  const result = new Float64Array(x.shape[0]! * outputs * pixels);
  for (let n = 0; n < x.shape[0]!; n++) {
    for (let o = 0; o < outputs; o++) {
      for (let p = 0; p < pixels; p++) {
        let sum = options.bias?.[o] ?? 0;
        const at = unflatten(p, spatial);
        for (let t = 0; t < taps; t++) {
          const tap = unflatten(t, kernel);
          const from = at.map((out, d) => source(out, tap[d]!, d));
          if (from.some((position, d) => position < 0 || position >= size[d]!)) continue;
          for (let c = 0; c < inputs; c++) {
            const { channel, weight } = place(o, c, t, taps);
            const index = from.reduce(
              (total, position, d) => total + position * xStrides[2 + d]!,
              n * xStrides[0]! + channel * xStrides[1]!,
            );
            sum += x.data[index]! * w.data[weight]!;
          }
        }
        result[(n * outputs + o) * pixels + p] = sum;
      }
    }
  }
  return result;
}

function unflatten(flat: number, shape: Shape): number[] {
  const index = new Array<number>(shape.length);
  for (let d = shape.length - 1; d >= 0; d--) {
    index[d] = flat % shape[d]!;
    flat = Math.floor(flat / shape[d]!);
  }
  return index;
}
