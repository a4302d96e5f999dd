import { ShapeError } from '../errors.ts';
import type { TensorType } from '../ops/op.ts';
import { formatShape } from '../tensor/shape.ts';
import { type GraphTemplate, printSymbolicType } from './template.ts';

/**
 * Checks what the caller passes against what the graph declares, and binds symbolic dimensions: the same name is the
 * same number everywhere.
 *
 * @returns dimensions by name
 * @throws ShapeError for a missing or unknown input, another dtype, rank or dimension
 */
export function bindInputs(
  template: GraphTemplate,
  types: ReadonlyMap<string, TensorType>,
): Map<string, number> {
  const declared = template.inputs.map(({ name }) => `'${name}'`).join(', ');
  for (const name of types.keys()) {
    if (template.inputs.some((input) => input.name === name)) continue;
    throw new ShapeError(`input '${name}'`, {
      expected: `one of the graph's inputs (${declared})`,
      actual: 'another name',
    });
  }
  const bound = new Map<string, { size: number; by: string }>();
  for (const input of template.inputs) {
    const where = `input '${input.name}'`;
    const given = types.get(input.name);
    const expected = printSymbolicType(input);
    if (!given) {
      throw new ShapeError(where, {
        expected,
        actual: 'nothing',
        hint: `The graph's inputs are ${declared}.`,
      });
    }
    const actual = `${given.dtype}${formatShape(given.shape)}`;
    if (given.dtype !== input.dtype) throw new ShapeError(where, { expected, actual });
    if (!input.shape) continue;
    if (given.shape.length !== input.shape.length) {
      throw new ShapeError(where, { expected: `${expected} (rank ${input.shape.length})`, actual });
    }
    for (const [axis, dim] of input.shape.entries()) {
      const size = given.shape[axis]!;
      if (!Number.isSafeInteger(size) || size < 0) throw new ShapeError(where, { expected, actual });
      if (typeof dim === 'number' && dim !== size) throw new ShapeError(where, { expected, actual });
      if (typeof dim !== 'string') continue;
      const earlier = bound.get(dim);
      if (earlier && earlier.size !== size) {
        const hint = `'${dim}' is ${earlier.size} in '${earlier.by}'.`;
        throw new ShapeError(where, { expected, actual, hint });
      }
      if (!earlier) bound.set(dim, { size, by: input.name });
    }
  }
  return new Map([...bound].map(([name, { size }]) => [name, size]));
}
