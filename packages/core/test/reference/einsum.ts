import { sizeOf, stridesOf, type Shape } from '../../src/tensor/shape.ts';

/** A tensor as references take it. */
interface Operand {
  labels: string;
  shape: Shape;
  data: ArrayLike<number>;
}

/** Σ over all labels that `output` lacks of the product of all operands, by one loop over all labels. No ellipsis. */
export function einsumReference(operands: readonly Operand[], output: string): Float64Array {
  const sizes = new Map<string, number>();
  for (const { labels, shape } of operands) {
    labels
      .split('')
      .forEach((label, axis) => sizes.set(label, Math.max(sizes.get(label) ?? 1, shape[axis]!)));
  }
  const labels = [...sizes.keys()];
  const dims = labels.map((label) => sizes.get(label)!);
  const outputStrides = stridesOf(output.split('').map((label) => sizes.get(label)!));
  const result = new Float64Array(sizeOf(output.split('').map((label) => sizes.get(label)!)));
  const steps = stridesOf(dims);
  for (let i = 0; i < sizeOf(dims); i++) {
    const at = (label: string): number => {
      const k = labels.indexOf(label);
      return Math.floor(i / steps[k]!) % dims[k]!;
    };
    let product = 1;
    for (const { labels: own, shape, data } of operands) {
      const strides = stridesOf(shape);
      let index = 0;
      own.split('').forEach((label, axis) => (index += shape[axis] === 1 ? 0 : at(label) * strides[axis]!));
      product *= data[index]!;
    }
    let target = 0;
    output.split('').forEach((label, axis) => (target += at(label) * outputStrides[axis]!));
    result[target]! += product;
  }
  return result;
}
