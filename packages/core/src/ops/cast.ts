import { ShapeError, UnsupportedOpError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import { dtypeOf } from '../onnx/element-types.ts';
import type { DataType } from '../tensor/dtype.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, intAttribute, operand } from './operands.ts';
import { castTo, operandExpr } from './scalar-types.ts';

/** The dtype that an integer attribute names by ONNX's number of it. Throws for types that nothing here computes with. */
export function dtypeAttribute(node: Node, name: string): DataType | undefined {
  const code = intAttribute(node, name);
  if (code === undefined) return undefined;
  const dtype = dtypeOf(code);
  if (dtype === undefined) {
    const { op, domain, opset } = node;
    throw new UnsupportedOpError([
      {
        op,
        domain,
        opset,
        node: node.name,
        reason: `its ${name} is element type ${code}, which is not supported`,
      },
    ]);
  }
  return dtype;
}

/** Floats to integers truncate, anything but zero is true, integers keep their low bits. */
const cast = (target: (node: Node) => DataType): OpDefinition => ({
  infer: (node) => [{ dtype: target(node), shape: operand(node, 0).shape }],
  elementwise: (node) => castTo(operandExpr(node, 0), target(node)),
  refuse: (node) =>
    target(node) === 'string' || operand(node, 0).dtype === 'string'
      ? 'strings are not on the GPU'
      : undefined,
});

/** Cast and CastLike. */
export const castOps: OpTable = {
  Cast: cast((node) => {
    const dtype = dtypeAttribute(node, 'to');
    if (!dtype) throw new ShapeError(describe(node), { expected: 'an attribute to', actual: 'none' });
    return dtype;
  }),
  CastLike: cast((node) => operand(node, 1).dtype),
};
