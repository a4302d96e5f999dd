import type { Node } from '../graph/graph.ts';
import type { ReductionName } from '../kernels/reduce/functions.ts';
import { reduce, reduceProblem } from '../kernels/reduce/reduce.ts';
import type { Lowering } from '../plan/lowering.ts';
import { reshapeView, rowMajor } from '../plan/view.ts';
import { isFloat } from '../tensor/dtype.ts';
import { normalizeAxis, sizeOf, stridesOf, type Shape } from '../tensor/shape.ts';
import type { CpuTensor, OpDefinition, OpTable } from './op.ts';
import { describe, intAttribute, intsOperandOrAttribute, operand } from './operands.ts';
import { kernelResult } from './kernel-result.ts';

/** Axes to reduce, ascending: an operand since opset 13 or 18, an attribute before. None given: all, or none at all. */
function reducedAxes(node: Node): number[] {
  const rank = operand(node, 0).shape.length;
  const given = intsOperandOrAttribute(node, 1, 'axes') ?? [];
  if (given.length === 0) return intAttribute(node, 'noop_with_empty_axes', 0) === 0 ? rowMajor(rank) : [];
  const axes = given.map((axis) => normalizeAxis(axis, rank, describe(node)));
  return [...new Set(axes)].toSorted((a, b) => a - b);
}

/** The shape without `axes`, or with ones in their places. */
export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  return shape.flatMap((dim, axis) => (axes.includes(axis) ? (keepDims ? [1] : []) : [dim]));
}

/** Memory order of a result whose kept axes lie in `kept` order. */
export function reducedOrder(kept: readonly number[], axes: readonly number[], keepDims: boolean): number[] {
  if (keepDims) return [...kept, ...axes];
  const ascending = kept.toSorted((a, b) => a - b);
  return kept.map((axis) => ascending.indexOf(axis));
}

function reduction(name: ReductionName): OpDefinition {
  return {
    infer(node) {
      const { dtype, shape } = operand(node, 0);
      const keepDims = intAttribute(node, 'keepdims', 1) !== 0;
      return [{ dtype, shape: reducedShape(shape, reducedAxes(node), keepDims) }];
    },
    fold: (node, [x]) => [reduceOnCpu(name, x!, reducedAxes(node))],
    refuse: (node) => (operand(node, 0).dtype === 'string' ? 'strings are not on the GPU' : undefined),
    lower: (node, lowering) => lowerReduction(name, node, lowering),
  };
}

function lowerReduction(name: ReductionName, node: Node, lowering: Lowering): void {
  const [output] = node.outputs;
  const view = lowering.view(operand(node, 0));
  const axes = reducedAxes(node);
  const epilogue = lowering.epilogue(node);
  if (idempotent.includes(name) && !epilogue && axes.every((axis) => view.shape[axis] === 1)) {
    lowering.alias(output!, reshapeView(view, output!.shape)!);
    return;
  }
  const problem = reduceProblem(view, axes);
  const order = reducedOrder(problem.kept, axes, output!.shape.length === view.shape.length);
  // Kernels here run no epilogue.
  const vector = problem.mode === 'column' && !epilogue;
  kernelResult(node, lowering, { order, vector, bindings: 2 }, (y) => reduce(lowering, name, problem, y));
}

/** Reductions that leave a single element as it is. */
const idempotent: readonly ReductionName[] = ['Sum', 'Mean', 'Max', 'Min', 'Prod'];

interface CpuReduction {
  initial: number;
  combine: (a: number, b: number) => number;
  after?: (v: number, count: number) => number;
}

const add = (a: number, b: number): number => a + b;
const onCpu: Readonly<Record<ReductionName, CpuReduction>> = {
  Sum: { initial: 0, combine: add },
  Mean: { initial: 0, combine: add, after: (v, count) => v / count },
  SumSquare: { initial: 0, combine: (a, b) => a + b * b },
  L1: { initial: 0, combine: (a, b) => a + Math.abs(b) },
  L2: { initial: 0, combine: (a, b) => a + b * b, after: Math.sqrt },
  LogSum: { initial: 0, combine: add, after: Math.log },
  Prod: { initial: 1, combine: (a, b) => a * b },
  Max: { initial: -Infinity, combine: Math.max },
  Min: { initial: Infinity, combine: Math.min },
};

function reduceOnCpu(name: ReductionName, x: CpuTensor, axes: readonly number[]): Float64Array {
  const { initial, combine, after } = onCpu[name];
  const outer = stridesOf(x.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim)));
  const inner = stridesOf(x.shape);
  const kept = x.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
  const count = sizeOf(axes.map((axis) => x.shape[axis]!));
  const result = new Float64Array(sizeOf(kept)).fill(emptyValue(initial, x));
  x.data.forEach((value, i) => {
    let target = 0;
    kept.forEach((dim, axis) => {
      if (dim !== 1) target += (Math.floor(i / inner[axis]!) % dim) * outer[axis]!;
    });
    result[target] = combine(result[target]!, value);
  });
  if (!after) return result;
  return result.map((v) => (isFloat(x.dtype) ? after(v, count) : Math.trunc(after(v, count))));
}

/** What Max and Min start from: the ends of the type, which are also the results for no elements. */
function emptyValue(initial: number, { dtype }: CpuTensor): number {
  if (Number.isFinite(initial) || isFloat(dtype)) return initial;
  if (dtype === 'bool') return initial < 0 ? 0 : 1;
  if (dtype.startsWith('u')) return initial < 0 ? 0 : 4294967295;
  return initial < 0 ? -2147483648 : 2147483647;
}

/** max + log Σ exp(x - max): no exponent overflows. */
const reduceLogSumExp: OpDefinition = {
  infer: (node) => reduction('Sum').infer(node),
  expand(node, build) {
    const given = operand(node, 0);
    if (!isFloat(given.dtype)) {
      const [float] = build.node('CastLike', [given, build.constant([0], [], 'float32')]);
      const attributes = { keepdims: intAttribute(node, 'keepdims', 1), noop_with_empty_axes: 1 };
      const axes = reducedAxes(node);
      const list = build.constant(axes, [axes.length], 'int64');
      const [result] = build.node('ReduceLogSumExp', [float, list], attributes);
      return build.node('CastLike', [result, given]);
    }
    const x = given;
    const axes = reducedAxes(node);
    const list = build.constant(axes, [axes.length], 'int64');
    const keep = { keepdims: 1, noop_with_empty_axes: 1 };
    const [largest] = build.node('ReduceMax', [x, list], keep);
    // An infinite maximum (of nothing, or of infinities) must not be subtracted from itself.
    const [infinite] = build.node('IsInf', [largest]);
    const [zero] = build.node('CastLike', [build.constant([0], [], 'float32'), x]);
    const [shift] = build.node('Where', [infinite, zero, largest]);
    const [shifted] = build.node('Sub', [x, shift]);
    const [exponential] = build.node('Exp', [shifted]);
    const [sum] = build.node('ReduceLogSum', [exponential, list], keep);
    const [result] = build.node('Add', [sum, shift]);
    if (intAttribute(node, 'keepdims', 1) !== 0 || axes.length === 0) return [result!];
    return build.node('Squeeze', [result, list]);
  },
};

export const reduceOps: OpTable = {
  ReduceSum: reduction('Sum'),
  ReduceMean: reduction('Mean'),
  ReduceMax: reduction('Max'),
  ReduceMin: reduction('Min'),
  ReduceProd: reduction('Prod'),
  ReduceSumSquare: reduction('SumSquare'),
  ReduceL1: reduction('L1'),
  ReduceL2: reduction('L2'),
  ReduceLogSum: reduction('LogSum'),
  ReduceLogSumExp: reduceLogSumExp,
};
