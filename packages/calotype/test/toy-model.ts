import { hashFillInto } from '@calotype/dev/hash-fill';

/** The elementwise stand-in for a network that the sampler fixtures were recorded with. */
export function toyModel(x: number, t: number): number {
  return 0.7 * x * Math.cos(0.001 * t) + 0.1 * Math.sin(3 * x);
}

/** Numbers of mean 0 and deviation 1, the same for the same name. */
export function hashNormal(name: string, count: number): Float64Array {
  return Float64Array.from(hashFillInto(new Float32Array(count), name));
}
