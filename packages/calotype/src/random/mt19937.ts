const SIZE = 624;
const SHIFT = 397;

/** The Mersenne Twister (Matsumoto & Nishimura 1998), seeded as PyTorch's CPU generator is. */
export class MersenneTwister {
  readonly #words = new Uint32Array(SIZE);
  #next = SIZE;

  /** @param seed Any integer, negative and beyond 32 bits too; like PyTorch, only the low 32 bits count. */
  constructor(seed: number | bigint) {
    const words = this.#words;
    words[0] = Number(BigInt.asUintN(32, BigInt(seed)));
    for (let i = 1; i < SIZE; i++) {
      const previous = words[i - 1]! ^ (words[i - 1]! >>> 30);
      words[i] = Math.imul(1812433253, previous) + i;
    }
  }

  /** The next 32 random bits, as an unsigned integer. */
  uint32(): number {
    if (this.#next === SIZE) this.#refill();
    let y = this.#words[this.#next++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** A copy that goes on from the same place. */
  clone(): MersenneTwister {
    const copy = new MersenneTwister(0);
    copy.#words.set(this.#words);
    copy.#next = this.#next;
    return copy;
  }

  #refill(): void {
    const words = this.#words;
    for (let i = 0; i < SIZE; i++) {
      const y = (words[i]! & 0x80000000) | (words[(i + 1) % SIZE]! & 0x7fffffff);
      words[i] = words[(i + SHIFT) % SIZE]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#next = 0;
  }
}
