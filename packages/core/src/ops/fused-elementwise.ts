import type { ScalarType } from '../graph/expr.ts';
import { broadcastShapes } from '../tensor/shape.ts';
import type { DataType } from '../tensor/dtype.ts';
import { describe } from './operands.ts';
import type { OpDefinition } from './op.ts';

/** What passes make of elementwise operators: `node.expr` over the inputs, which broadcast. */
export const elementwiseOp: OpDefinition = {
  infer: (node) => [
    {
      // A fused node keeps the dtype of the node whose result it gives.
      dtype: node.outputs[0]?.dtype ?? dtypeOf(node.expr!.type),
      shape: broadcastShapes(
        node.inputs.map((value) => value!.shape),
        describe(node),
      ),
    },
  ],
  elementwise: (node) => node.expr!,
};

function dtypeOf(type: ScalarType): DataType {
  return ({ f32: 'float32', i32: 'int32', u32: 'uint32', bool: 'bool' } as const)[type];
}
