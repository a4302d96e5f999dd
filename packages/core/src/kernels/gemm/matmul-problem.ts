import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { expandView } from '../../plan/view.ts';
import type { ActivationSource, BSource, GemmProblem } from './problem.ts';

interface BatchAxis {
  size: number;
  a: number;
  b: number;
}

/**
 * States `A [..., M, K] · B [..., K, N]` over views as a product. Leading axes broadcast. They join the rows where A's
 * memory allows and B does not have them, which is the usual case of a weight.
 *
 * @param output dense and row-major
 * @param options.packed treat B as a weight whenever it is known: it will be rearranged
 */
export function matmulProblem(
  lowering: Lowering,
  a: TensorView,
  b: TensorView,
  output: TensorView,
  options: { packed?: boolean } = {},
): GemmProblem {
  const rank = Math.max(a.shape.length, b.shape.length);
  const [m, k, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
  const batchShape = batchOf(a.shape, b.shape, rank);
  if (k > 1 && a.strides.at(-1) !== 1) a = lowering.materialize(a, { order: a.shape.map((_, axis) => axis) });
  const left = expandView(a, [...batchShape, m, k]);
  const asWeight = options.packed === true || lowering.phase(b) === 'load';
  const batchedB = b.shape.slice(0, -2).some((size) => size > 1);
  const source = asWeight && !batchedB ? weight(b) : activation(lowering, b);
  const right = expandView(source.view, [...batchShape, k, n]);

  let rows = m;
  let rowStride = left.strides.at(-2)!;
  const axes: BatchAxis[] = [];
  // From the innermost batch axis outwards.
  for (let axis = batchShape.length - 1; axis >= 0; axis--) {
    const size = batchShape[axis]!;
    if (size === 1) continue;
    const now = { size, a: left.strides[axis]!, b: batchedB ? right.strides[axis]! : 0 };
    if (axes.length === 0 && now.b === 0) {
      if (rows === 1) rowStride = now.a;
      if (rows === 1 || now.a === rows * rowStride) {
        rows *= size;
        continue;
      }
    }
    const inner = axes[0];
    if (inner && now.a === inner.a * inner.size && now.b === inner.b * inner.size) {
      axes[0] = { size: inner.size * size, a: inner.a, b: inner.b };
    } else {
      axes.unshift(now);
    }
  }
  return {
    name: 'matmul',
    rows,
    columns: n,
    depth: k,
    a: { kind: 'dense', view: a, rowStride, batchStrides: axes.map((axis) => axis.a) },
    b: source.kind === 'activation' ? { ...source, batchStrides: axes.map((axis) => axis.b) } : source,
    batch: axes.map(({ size }) => size),
    output: { view: output, pitch: n, batchStride: rows * n },
  };
}

function batchOf(a: readonly number[], b: readonly number[], rank: number): number[] {
  return Array.from({ length: rank - 2 }, (_, axis) => {
    const [x, y] = [a[axis - rank + a.length] ?? 1, b[axis - rank + b.length] ?? 1];
    return x === 1 ? y : x;
  });
}

function weight(b: TensorView): BSource {
  return {
    kind: 'weight',
    view: b,
    groups: 1,
    groupStride: 0,
    columnStride: b.strides.at(-1)!,
    depthAxes: [{ size: b.shape.at(-2)!, stride: b.strides.at(-2)! }],
  };
}

function activation(lowering: Lowering, b: TensorView): ActivationSource {
  const [depth, columns] = [b.shape.at(-2)!, b.shape.at(-1)!];
  const [alongDepth, alongColumns] = [b.strides.at(-2)!, b.strides.at(-1)!];
  if (alongColumns === 1 || columns === 1) {
    return { kind: 'activation', view: b, layout: 'kn', stride: alongDepth, batchStrides: [] };
  }
  if (alongDepth === 1 || depth === 1) {
    return { kind: 'activation', view: b, layout: 'nk', stride: alongColumns, batchStrides: [] };
  }
  return activation(lowering, lowering.materialize(b, { order: b.shape.map((_, axis) => axis) }));
}
