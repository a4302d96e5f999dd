import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import { indexedKernel } from '../kernels/movement/indexed.ts';
import padSource from '../kernels/movement/pad.wgsl';
import { denseOrder, rowMajor, sliceView } from '../plan/view.ts';
import { formatShape, normalizeAxis, type Shape } from '../tensor/shape.ts';
import type { OpDefinition } from './op.ts';
import {
  describe,
  floatAttribute,
  hasOperand,
  intsOperand,
  intsOperandOrAttribute,
  operand,
  stringAttribute,
} from './operands.ts';
import { forEachIndex } from './views.ts';

const modes = ['constant', 'reflect', 'edge', 'wrap'] as const;
type Mode = (typeof modes)[number];

interface Margins {
  mode: Mode;
  /** One for each axis; negative ones crop. */
  before: number[];
  after: number[];
  shape: number[];
}

/** Pads are an operand since opset 11, for `axes` alone since 18. */
function margins(node: Node): Margins {
  const { shape } = operand(node, 0);
  const mode = modes.find((name) => name === stringAttribute(node, 'mode', 'constant'));
  if (!mode) {
    throw new ShapeError(describe(node), {
      expected: `mode to be one of ${modes.join(', ')}`,
      actual: 'another',
    });
  }
  const axes = (hasOperand(node, 3) ? intsOperand(node, 3) : rowMajor(shape.length)).map((axis) =>
    normalizeAxis(axis, shape.length, describe(node)),
  );
  const pads = intsOperandOrAttribute(node, 1, 'pads') ?? [];
  const before = shape.map(() => 0);
  const after = shape.map(() => 0);
  axes.forEach((axis, k) => {
    before[axis] = pads[k] ?? 0;
    after[axis] = pads[k + axes.length] ?? 0;
  });
  const padded = shape.map((dim, axis) => dim + before[axis]! + after[axis]!);
  const fillable = mode === 'constant' || shape.every((dim, axis) => dim > 0 || padded[axis] === 0);
  if (pads.length !== 2 * axes.length || padded.some((dim) => dim < 0) || !fillable) {
    throw new ShapeError(describe(node), {
      expected: `${2 * axes.length} pads that fit ${formatShape(shape)}`,
      actual: formatShape(pads),
    });
  }
  return { mode, before, after, shape: padded };
}

/** Position in an axis of `size` that a position outside of it shows; `undefined` in a constant margin. */
function source(mode: Mode, i: number, size: number): number | undefined {
  if (i >= 0 && i < size) return i;
  const wrapped = (period: number): number => ((i % period) + period) % period;
  switch (mode) {
    case 'constant':
      return undefined;
    case 'reflect': {
      const period = Math.max(2 * (size - 1), 1);
      return Math.min(wrapped(period), period - wrapped(period));
    }
    case 'edge':
      return Math.min(Math.max(i, 0), size - 1);
    case 'wrap':
      return wrapped(size);
  }
}

function isCrop({ before, after }: Margins): boolean {
  return [...before, ...after].every((pad) => pad <= 0);
}

/** Pad with all its modes. Nothing but negative pads is a view. */
export const pad: OpDefinition = {
  infer: (node) => [{ dtype: operand(node, 0).dtype, shape: margins(node).shape }],
  fold(node, [x, , value]) {
    const { mode, before, shape } = margins(node);
    const margin = value?.data[0] ?? floatAttribute(node, 'value', 0);
    const data = new Float64Array(shape.reduce((size, dim) => size * dim, 1));
    forEachIndex(shape, (at, i) => {
      let from = 0;
      for (let axis = 0; axis < shape.length; axis++) {
        const own = source(mode, at[axis]! - before[axis]!, x!.shape[axis]!);
        if (own === undefined) {
          data[i] = margin;
          return;
        }
        from = from * x!.shape[axis]! + own;
      }
      data[i] = x!.data[from]!;
    });
    return [data];
  },
  lower(node, lowering) {
    const plan = margins(node);
    const x = lowering.view(operand(node, 0));
    const [result] = node.outputs;
    if (isCrop(plan)) {
      const starts = plan.before.map((pad) => -pad);
      const steps: Shape = starts.map(() => 1);
      lowering.alias(result!, sliceView(x, starts, steps, plan.shape));
      return;
    }
    const value = hasOperand(node, 2) ? lowering.view(operand(node, 2)) : undefined;
    const margin = value ? 'value_at(value_Index())' : `${floatAttribute(node, 'value', 0)}`;
    const output = lowering.allocate(result!, { order: denseOrder(x) ?? rowMajor(x.shape.length) });
    lowering.dispatch(
      indexedKernel({
        name: `pad_${plan.mode}_${output.storage}`,
        output,
        inputs: { x, ...(value && { value }) },
        constants: { MODE: modes.indexOf(plan.mode) },
        lists: { begins: plan.before },
        body: `fn margin() -> Scalar { return Scalar(${margin}); }\n${padSource}`,
      }),
    );
  },
};
