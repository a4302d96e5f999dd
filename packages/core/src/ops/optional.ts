import type { OpDefinition, OpTable } from './op.ts';
import { operand } from './operands.ts';

// What is left of optional values where every value is a tensor.

const hasElement: OpDefinition = {
  infer: () => [{ dtype: 'bool', shape: [] }],
  fold: (node) => [Float64Array.of(node.inputs[0] ? 1 : 0)],
  expand: (node, build) => [build.constant([node.inputs[0] ? 1 : 0], [], 'bool')],
};

const getElement: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 0).dtype, shape: operand(node, 0).shape }],
  expand: (node, build) => build.node('Identity', [operand(node, 0)]),
};

/** Operators on optional values. */
export const optionalOps: OpTable = { OptionalGetElement: getElement, OptionalHasElement: hasElement };
