import { MersenneTwister } from './mt19937.ts';
import { fillNormalBlock } from './normal-block.ts';

/** Values PyTorch's vectorised path makes at a time; shorter tensors take another path with another stream. */
const BLOCK = 16;

/**
 * PyTorch's CPU random generator: `torch.Generator().manual_seed(seed)` and what `torch.randn` and `torch.rand` draw
 * from it, in float32. The same seed gives diffusers' start noise, so it gives diffusers' picture.
 *
 * @example
 * const latents = new TorchGenerator(42).randn([1, 4, 64, 64]);
 */
export class TorchGenerator {
  readonly seed: number | bigint;
  #bits: MersenneTwister;
  /** The sine half of the last scalar pair, in float64, kept for the next scalar draw. */
  #spare: number | undefined;

  constructor(seed: number | bigint) {
    this.seed = seed;
    this.#bits = new MersenneTwister(seed);
  }

  /** A copy in the same state: both go on with the same numbers. */
  clone(): TorchGenerator {
    const copy = new TorchGenerator(this.seed);
    copy.#bits = this.#bits.clone();
    copy.#spare = this.#spare;
    return copy;
  }

  /** The raw stream that everything else is made from: 32 bits a call. */
  uint32(): number {
    return this.#bits.uint32();
  }

  /** `torch.rand`: float32 values in [0, 1), on a grid of 2⁻²⁴. */
  rand(shape: readonly number[]): Float32Array<ArrayBuffer> {
    const values = new Float32Array(elements(shape));
    for (let i = 0; i < values.length; i++) values[i] = this.#uniform24();
    return values;
  }

  /** `torch.randn`: float32 values of a standard normal distribution. */
  randn(shape: readonly number[]): Float32Array<ArrayBuffer> {
    const values = new Float32Array(elements(shape));
    if (values.length < BLOCK) {
      for (let i = 0; i < values.length; i++) values[i] = this.#scalarNormal();
      return values;
    }
    for (let i = 0; i < values.length; i++) values[i] = this.#uniform24();
    const whole = values.length - (values.length % BLOCK);
    for (let i = 0; i < whole; i += BLOCK) fillNormalBlock(values, i);
    if (whole < values.length) {
      // The tail does not fill a block: PyTorch draws the last 16 values anew, overlapping the block before.
      const tail = values.length - BLOCK;
      for (let i = tail; i < values.length; i++) values[i] = this.#uniform24();
      fillNormalBlock(values, tail);
    }
    return values;
  }

  #uniform24(): number {
    return (this.#bits.uint32() & 0xffffff) * 2 ** -24;
  }

  #uniform53(): number {
    const high = this.#bits.uint32() & 0x1fffff;
    return (high * 2 ** 32 + this.#bits.uint32()) * 2 ** -53;
  }

  /** Box–Muller in float64, two values at a time. */
  #scalarNormal(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare;
      this.#spare = undefined;
      return spare;
    }
    const angle = 2 * Math.PI * this.#uniform53();
    const radius = Math.sqrt(-2 * Math.log1p(-this.#uniform53()));
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}
