import { fromFloat16, toFloat16 } from './float16.ts';

/** Integers of one block and the float16 scale that they share: `w ≈ (q - 2^(bits - 1)) · scale`. */
export interface QuantizedBlock {
  scale: number;
  /** Unsigned: 0 to 15, or 1 to 255. */
  integers: Uint8Array<ArrayBuffer>;
}

/**
 * The scheme by which weights are quantized, here and on the GPU (`kernels/quantize/quantize_block.wgsl`). The scale is
 * the smallest float16 that reaches the block's largest element: at 8 bits with 127, at 4 bits with -8, so that it may
 * be negative. Integers are the nearest to the quotient, halfway to the even one.
 */
export function quantizeBlock(weights: ArrayLike<number>, bits: 4 | 8): QuantizedBlock {
  let [least, most] = [0, 0];
  for (let i = 0; i < weights.length; i++) {
    least = Math.min(least, weights[i]!);
    most = Math.max(most, weights[i]!);
  }
  const size = smallestHalf(Math.max(most, -least), bits === 8 ? 127 : 8);
  const scale = bits === 4 && most >= -least ? -size : size;
  const middle = 2 ** (bits - 1);
  const [low, high] = bits === 8 ? [-127, 127] : [-8, 7];
  const integers = new Uint8Array(weights.length);
  for (let i = 0; i < weights.length; i++) {
    const q = scale === 0 ? 0 : roundEven(weights[i]! / scale);
    integers[i] = Math.min(Math.max(q, low), high) + middle;
  }
  return { scale, integers };
}

/** The smallest float16 of which `levels` times is at least `m`. */
function smallestHalf(m: number, levels: number): number {
  let bits = toFloat16(Math.min(m / levels, 65504));
  while (bits > 0 && fromFloat16(bits - 1) * levels >= m) bits--;
  while (bits < 0x7bff && fromFloat16(bits) * levels < m) bits++;
  return fromFloat16(bits);
}

function roundEven(x: number): number {
  const rounded = Math.round(x);
  return Math.abs(x - Math.trunc(x)) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
