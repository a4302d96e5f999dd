import { ShapeError } from '../errors.ts';
import { call, constant, input, type Expr } from '../graph/expr.ts';
import { scalarFunctions } from '../graph/scalar-functions.ts';
import type { Node } from '../graph/graph.ts';
import type { EpilogueViews } from '../kernels/elementwise/epilogue.ts';
import { before } from '../kernels/gemm/epilogue.ts';
import { gemm } from '../kernels/gemm/gemm.ts';
import type { Gate } from '../kernels/gemm/problem.ts';
import { matmulProblem } from '../kernels/gemm/matmul-problem.ts';
import type { Lowering } from '../plan/lowering.ts';
import type { TensorView } from '../plan/plan.ts';
import { transposeView } from '../plan/view.ts';
import { isFloat } from '../tensor/dtype.ts';
import { broadcastShapes, formatShape, sizeOf, type Shape } from '../tensor/shape.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, floatAttribute, hasOperand, intAttribute, operand, stringAttribute } from './operands.ts';

/** Why a product cannot run on the GPU: its kernels compute in f32. */
function refuseIntegers(node: Node): string | undefined {
  const { dtype } = operand(node, 0);
  return isFloat(dtype) ? undefined : `multiplies ${dtype}; kernels exist for floating-point types`;
}

/** numpy's matmul: the last two axes multiply, those before broadcast; vectors are promoted and the axis dropped. */
function matmulShape(node: Node, a: Shape, b: Shape): number[] {
  if (a.length === 0 || b.length === 0) {
    throw new ShapeError(describe(node), { expected: 'operands of rank 1 or more', actual: 'a scalar' });
  }
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  if (left.at(-1) !== right.at(-2)) {
    throw new ShapeError(describe(node), {
      expected: 'operands whose inner dimensions agree',
      actual: `${formatShape(a)} and ${formatShape(b)}`,
    });
  }
  const batch = broadcastShapes([left.slice(0, -2), right.slice(0, -2)], describe(node));
  return [...batch, ...(a.length === 1 ? [] : [left.at(-2)!]), ...(b.length === 1 ? [] : [right.at(-1)!])];
}

const matMul: OpDefinition = {
  acceptsEpilogue: true,
  infer(node) {
    const [a, b] = [operand(node, 0), operand(node, 1)];
    return [{ dtype: a.dtype, shape: matmulShape(node, a.shape, b.shape) }];
  },
  refuse: refuseIntegers,
  lower(node, lowering) {
    const [a, b] = [
      asMatrix(lowering.view(operand(node, 0)), 0),
      asMatrix(lowering.view(operand(node, 1)), 1),
    ];
    const output = node.outputs[0]!;
    gemm(lowering, {
      ...matmulProblem(lowering, a, b, lowering.allocate(output)),
      name: 'matmul',
      epilogue: lowering.epilogue(node),
    });
  },
};

/** A vector as a matrix: a row on the left, a column on the right. */
function asMatrix(view: TensorView, side: 0 | 1): TensorView {
  if (view.shape.length !== 1) return view;
  const [length] = view.shape;
  const [stride] = view.strides;
  return side === 0
    ? { ...view, shape: [1, length!], strides: [0, stride!] }
    : { ...view, shape: [length!, 1], strides: [stride!, 0] };
}

const gemmOp: OpDefinition = {
  acceptsEpilogue: true,
  infer(node) {
    const { rows, columns } = gemmSizes(node);
    return [{ dtype: operand(node, 0).dtype, shape: [rows, columns] }];
  },
  refuse: refuseIntegers,
  lower(node, lowering) {
    const turned = (index: number, attribute: string): TensorView => {
      const view = lowering.view(operand(node, index));
      return intAttribute(node, attribute, 0) !== 0 ? transposeView(view, [1, 0]) : view;
    };
    const output = lowering.allocate(node.outputs[0]!);
    gemm(lowering, {
      ...matmulProblem(lowering, turned(0, 'transA'), turned(1, 'transB'), output),
      name: 'gemm',
      epilogue: gemmEpilogue(node, lowering),
    });
  },
};

function gemmSizes(node: Node): { rows: number; columns: number } {
  const [a, b] = [operand(node, 0), operand(node, 1)];
  if (a.shape.length !== 2 || b.shape.length !== 2) {
    throw new ShapeError(describe(node), {
      expected: 'two matrices',
      actual: `${formatShape(a.shape)} and ${formatShape(b.shape)}`,
    });
  }
  const [rows, depth] =
    intAttribute(node, 'transA', 0) !== 0 ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!];
  const [inner, columns] =
    intAttribute(node, 'transB', 0) !== 0 ? [b.shape[1]!, b.shape[0]!] : [b.shape[0]!, b.shape[1]!];
  if (depth !== inner) {
    throw new ShapeError(describe(node), {
      expected: 'operands whose inner dimensions agree',
      actual: `${formatShape(a.shape)} and ${formatShape(b.shape)}`,
    });
  }
  if (hasOperand(node, 2)) {
    const c = operand(node, 2).shape;
    const fits =
      c.length <= 2 && broadcastShapes([c, [rows, columns]], describe(node)).join() === `${rows},${columns}`;
    if (!fits) {
      throw new ShapeError(describe(node), {
        expected: `C to broadcast to [${rows}, ${columns}]`,
        actual: formatShape(c),
      });
    }
  }
  return { rows, columns };
}

/** `alpha · AB + beta · C`, then what was fused. */
function gemmEpilogue(node: Node, lowering: Lowering): EpilogueViews | undefined {
  const alpha = floatAttribute(node, 'alpha', 1);
  const beta = floatAttribute(node, 'beta', 1);
  const scaled = (x: Expr, factor: number): Expr => (factor === 1 ? x : call('mul', [x, constant(factor)]));
  const fused = lowering.epilogue(node);
  const product = scaled(input(0), alpha);
  if (hasOperand(node, 2) && beta !== 0) {
    return before(call('add', [product, scaled(input(1), beta)]), [lowering.view(operand(node, 2))], fused);
  }
  return alpha === 1 ? fused : before(product, [], fused);
}

/**
 * `GatedMatMul(x [..., K], w [K, 2N], bias [2N]?) -> [..., N]`: GEGLU and SwiGLU in one product. With l and r the left and
 * right N columns of `x·w + bias`, the result is `l · activation(r)`, or `activation(l) · r` where `gate` is 0.
 * Attributes: `activation`, a scalar function (`gelu`, `silu`, …); `gate`, 1 by default.
 */
const gatedMatMul: OpDefinition = {
  acceptsEpilogue: true,
  infer(node) {
    const [x, w] = [operand(node, 0), operand(node, 1)];
    const columns = w.shape[1]! / 2;
    if (w.shape.length !== 2 || !Number.isInteger(columns) || x.shape.length < 2) {
      throw new ShapeError(describe(node), {
        expected: 'a matrix with two halves of columns',
        actual: `${formatShape(x.shape)} and ${formatShape(w.shape)}`,
      });
    }
    gateOf(node);
    const shape = matmulShape(node, x.shape, w.shape);
    if (hasOperand(node, 2) && sizeOf(operand(node, 2).shape) !== 2 * columns) {
      throw new ShapeError(describe(node), {
        expected: `a bias of ${2 * columns}`,
        actual: formatShape(operand(node, 2).shape),
      });
    }
    return [{ dtype: x.dtype, shape: [...shape.slice(0, -1), columns] }];
  },
  refuse: refuseIntegers,
  lower(node, lowering) {
    const output = lowering.allocate(node.outputs[0]!);
    const [x, w] = [lowering.view(operand(node, 0)), lowering.view(operand(node, 1))];
    const bias = hasOperand(node, 2) ? lowering.dense(operand(node, 2)) : undefined;
    // Packed also when it is computed at run time: the kernel wants the two halves interleaved.
    const both = matmulProblem(lowering, x, w, output, { packed: true });
    const columns = both.columns / 2;
    gemm(lowering, {
      ...both,
      columns,
      output: { view: output, pitch: columns, batchStride: both.rows * columns },
      gate: { ...gateOf(node), bias },
      epilogue: lowering.epilogue(node),
    });
  },
};

function gateOf(node: Node): Gate {
  const activation = stringAttribute(node, 'activation', 'gelu');
  if (scalarFunctions[activation]?.js.length !== 1) {
    throw new ShapeError(describe(node), {
      expected: 'activation to be a scalar function',
      actual: activation,
    });
  }
  return { activation, half: intAttribute(node, 'gate', 1) === 0 ? 0 : 1 };
}

export const matmulOps: OpTable = { MatMul: matMul, Gemm: gemmOp };
export const ownMatmulOps: OpTable = { GatedMatMul: gatedMatMul };
