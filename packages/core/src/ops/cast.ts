import { ShapeError, UnsupportedOpError } from '../errors.ts';
import { call } from '../graph/expr.ts';
import type { Node } from '../graph/graph.ts';
import { codeOf, dtypeOf } from '../onnx/element-types.ts';
import { bitsOf, isFloat, type DataType } from '../tensor/dtype.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, intAttribute, operand } from './operands.ts';
import { castTo, operandExpr, scalarTypeOf } from './scalar-types.ts';

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

/** The same bits as another type of the same size. Floats of 16 bits and all types of 64 are stored otherwise here. */
const bitCast: OpDefinition = {
  infer: (node) => [{ dtype: bitCastTarget(node), shape: operand(node, 0).shape }],
  elementwise(node) {
    const x = operandExpr(node, 0);
    const to = bitCastTarget(node);
    const type = scalarTypeOf(to);
    if (x.type === 'f32' && type !== 'f32')
      return call(type === 'u32' ? 'bitsToU32' : 'bitsToI32', [x], type);
    if (x.type !== 'f32' && type === 'f32') return call('bitsToF32', [x]);
    const same = castTo(x, to);
    return to === 'int32' || to === 'uint32'
      ? call(type === 'u32' ? 'wrapU32' : 'wrapI32', [same], type)
      : same;
  },
  refuse(node) {
    const [from, to] = [operand(node, 0).dtype, bitCastTarget(node)];
    if (from === to) return undefined;
    if (bitsOf[from] === 64 || (bitsOf[from] === 16 && isFloat(from) !== isFloat(to))) {
      return `sees ${from} as ${to}, which is stored otherwise`;
    }
    return undefined;
  },
};

function bitCastTarget(node: Node): DataType {
  const to = dtypeAttribute(node, 'to');
  const from = operand(node, 0).dtype;
  if (to && bitsOf[to] === bitsOf[from]) return to;
  throw new ShapeError(describe(node), { expected: `a type as large as ${from}`, actual: String(to) });
}

/** Cast, CastLike and BitCast. */
export const castOps: OpTable = {
  BitCast: bitCast,
  Cast: cast((node) => {
    const dtype = dtypeAttribute(node, 'to');
    if (!dtype) throw new ShapeError(describe(node), { expected: 'an attribute to', actual: 'none' });
    return dtype;
  }),
  CastLike: {
    infer: (node) => [{ dtype: operand(node, 1).dtype, shape: operand(node, 0).shape }],
    // Only the type of the other operand counts; its shape need not broadcast.
    expand: (node, build) => build.node('Cast', [operand(node, 0)], { to: codeOf(operand(node, 1).dtype) }),
  },
};
