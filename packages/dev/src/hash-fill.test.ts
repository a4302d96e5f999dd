import { describe, expect, test } from 'vitest';
import { float16Bits, fnv1a32, hashFill, hashFillInto } from './hash-fill.ts';

/** The definition, once more and slowly: every step in exact integers. */
function reference(name: string, i: number, mean: number, std: number): number {
  const u32 = (x: bigint): bigint => x & 0xffffffffn;
  let seed = 0x811c9dc5n;
  for (const byte of new TextEncoder().encode(name)) seed = u32((seed ^ BigInt(byte)) * 0x01000193n);
  let x = u32(BigInt(i) + seed * 0x9e3779b9n);
  x ^= x >> 16n;
  x = u32(x * 0x7feb352dn);
  x ^= x >> 15n;
  x = u32(x * 0x846ca68bn);
  x ^= x >> 16n;
  return mean + std * 3.4641016151377544 * (Number(x >> 8n) / 2 ** 24 - 0.5);
}

/** Value of float16 bits. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + mantissa) : 2 ** -24 * mantissa);
}

describe('hash fill', () => {
  test('FNV-1a has its published values', () => {
    expect(fnv1a32('')).toBe(0x811c9dc5);
    expect(fnv1a32('a')).toBe(0xe40c292c);
    expect(fnv1a32('foobar')).toBe(0xbf9cf968);
  });

  test.each([
    { name: 'sample', mean: 0, std: 1 },
    { name: 'v.decoder.conv_in.weight', mean: 0.00115, std: 0.096225 },
    { name: 'gewicht-ß-重み', mean: -2, std: 0.5 },
  ])('agrees with exact integers: $name', ({ name, mean, std }) => {
    const filled = hashFillInto(new Float64Array(5000), name, { mean, std });
    filled.forEach((value, i) => expect(value).toBe(reference(name, i, mean, std)));
  });

  test('any part can be made on its own', () => {
    expect(hashFillInto(new Float32Array(10), 'x', undefined, 90)).toEqual(hashFill('x', 100).subarray(90));
  });

  test('indices beyond 2^31 wrap as unsigned 32-bit integers', () => {
    const start = 2 ** 31 - 2;
    const filled = hashFillInto(new Float64Array(4), 'x', undefined, start);
    filled.forEach((value, i) => expect(value).toBe(reference('x', start + i, 0, 1)));
  });

  test('has the mean and deviation asked for', () => {
    const values = hashFill('statistics', 100_000, { mean: 3, std: 2 });
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    expect(mean).toBeCloseTo(3, 1);
    expect(Math.sqrt(variance)).toBeCloseTo(2, 1);
  });

  test('float16 fill is the float64 value rounded once', () => {
    const halves = hashFillInto(new Uint16Array(20_000), 'w', { mean: 0, std: 0.01 });
    const exact = hashFillInto(new Float64Array(20_000), 'w', { mean: 0, std: 0.01 });
    const notNearest = [...halves].filter((bits, i) => {
      const error = (neighbour: number): number => Math.abs(half(neighbour) - exact[i]!);
      return error(bits) > error(bits + 1) || ((bits & 0x7fff) > 0 && error(bits) > error(bits - 1));
    });
    expect(notNearest).toEqual([]);
  });
});

describe('float16Bits', () => {
  test('gives every float16 value its own bits back', () => {
    const changed = Array.from({ length: 0x10000 }, (_, bits) => bits).filter(
      (bits) => !Number.isNaN(half(bits)) && float16Bits(half(bits)) !== bits,
    );
    expect(changed).toEqual([]);
  });

  test.each([
    { name: 'tie to even, down', value: 1 + 2 ** -11, bits: 0x3c00 },
    { name: 'tie to even, up', value: 1 + 3 * 2 ** -11, bits: 0x3c02 },
    { name: 'a hair above a tie that float32 cannot see', value: 1 + 2 ** -11 + 2 ** -40, bits: 0x3c01 },
    { name: 'a hair below a tie that float32 cannot see', value: 1 + 3 * 2 ** -11 - 2 ** -40, bits: 0x3c01 },
    { name: 'largest', value: 65504, bits: 0x7bff },
    { name: 'rounds to infinity', value: 65520, bits: 0x7c00 },
    { name: 'beyond float32', value: 1e300, bits: 0x7c00 },
    { name: 'smallest subnormal', value: 2 ** -24, bits: 1 },
    { name: 'half of the smallest subnormal', value: 2 ** -25, bits: 0 },
    { name: 'just over half of it', value: 2 ** -25 * 1.001, bits: 1 },
    { name: 'carry into the exponent', value: 2047.9, bits: 0x6800 },
    { name: 'negative infinity', value: -Infinity, bits: 0xfc00 },
  ])('$name', ({ value, bits }) => expect(float16Bits(value)).toBe(bits));

  test('NaN stays one', () => expect(half(float16Bits(NaN))).toBeNaN());
});
