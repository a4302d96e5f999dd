import { describe, expect, test } from 'vitest';
import { TorchGenerator } from '../src/random/index.ts';
import { readSafetensors } from './read-safetensors.ts';

// Drawn with torch 1.13 on a CPU with AVX2; the names say seed and shape.
const recorded = readSafetensors('torch-randn.safetensors');
const single = [...recorded].filter(([name]) => name.startsWith('seed '));
const stream = [...recorded].filter(([name]) => name.startsWith('stream '));

describe('TorchGenerator', () => {
  test('has ten thousand recorded values to answer for', () => {
    expect(single.reduce((count, [, { data }]) => count + data.length, 0)).toBeGreaterThan(10_000);
  });

  test.each(single)('randn, %s', (name, { shape, data }) => {
    const seed = BigInt(name.split(' ')[1]!);
    expect(differing(new TorchGenerator(seed).randn(shape), data)).toBe(0);
  });

  test('goes on where the draw before left off, the spare normal of short tensors included', () => {
    const generator = new TorchGenerator(5);
    for (const [name, { shape, data }] of stream) {
      expect(differing(generator.randn(shape), data), name).toBe(0);
    }
  });

  test('rand', () => {
    const { shape, data } = recorded.get('uniform 11 shape 20')!;
    expect(differing(new TorchGenerator(11).rand(shape), data)).toBe(0);
  });

  test('clones go on alike', () => {
    const generator = new TorchGenerator(3);
    generator.randn([3]);
    const copy = generator.clone();
    expect(copy.randn([2, 20])).toEqual(generator.randn([2, 20]));
    expect(copy.randn([5])).toEqual(generator.randn([5]));
  });

  test('seeds count by their low 32 bits, as in torch', () => {
    expect(new TorchGenerator(-1).uint32()).toBe(new TorchGenerator(2 ** 32 - 1).uint32());
    expect(new TorchGenerator(2 ** 53 - 1).uint32()).toBe(new TorchGenerator(0xffffffffn).uint32());
  });
});

function differing(actual: Float32Array, expected: Float32Array): number {
  expect(actual.length).toBe(expected.length);
  return actual.reduce((count, value, i) => count + (Object.is(value, expected[i]) ? 0 : 1), 0);
}
