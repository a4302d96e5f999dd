import { sizeOf, stridesOf, type Shape } from '../../src/tensor/shape.ts';

/** Elements of a row-major tensor for each result of a reduction, in row-major order of the kept axes. */
export function reducedGroups(data: ArrayLike<number>, shape: Shape, axes: readonly number[]): number[][] {
  const kept = shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
  const [from, to] = [stridesOf(shape), stridesOf(kept)];
  const groups = Array.from({ length: sizeOf(kept) }, (): number[] => []);
  for (let i = 0; i < sizeOf(shape); i++) {
    let target = 0;
    kept.forEach((dim, axis) => {
      if (dim !== 1) target += (Math.floor(i / from[axis]!) % dim) * to[axis]!;
    });
    groups[target]!.push(data[i]!);
  }
  return groups;
}
