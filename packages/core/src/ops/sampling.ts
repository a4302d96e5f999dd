import { ShapeError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';
import { gridSample } from '../kernels/grid-sample/grid-sample.ts';
import { memoryOrder } from '../kernels/walk.ts';
import { isFloat } from '../tensor/dtype.ts';
import { formatShape } from '../tensor/shape.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, intAttribute, operand, stringAttribute } from './operands.ts';

/** Newer names of the modes; opset 16 has others. */
const modes: Readonly<Record<string, 'nearest' | 'linear' | 'cubic'>> = {
  nearest: 'nearest',
  linear: 'linear',
  bilinear: 'linear',
  cubic: 'cubic',
  bicubic: 'cubic',
};

const modeOf = (node: Node): 'nearest' | 'linear' | 'cubic' | undefined =>
  modes[stringAttribute(node, 'mode', 'linear')];

function paddingOf(node: Node): 'zeros' | 'border' | 'reflection' | undefined {
  const padding = stringAttribute(node, 'padding_mode', 'zeros');
  return padding === 'zeros' || padding === 'border' || padding === 'reflection' ? padding : undefined;
}

/** Pictures read at the places that a grid names. */
const gridSampleOp: OpDefinition = {
  acceptsEpilogue: true,
  infer(node) {
    const { dtype, shape } = operand(node, 0);
    const grid = operand(node, 1).shape;
    const fits = shape.length >= 3 && grid.length === shape.length && grid[0] === shape[0];
    if (!fits || grid.at(-1) !== shape.length - 2) {
      throw new ShapeError(describe(node), {
        expected: 'a picture [N, C, …] of r axes and a grid [N, …, r]',
        actual: `${formatShape(shape)} and ${formatShape(grid)}`,
      });
    }
    return [{ dtype, shape: [...shape.slice(0, 2), ...grid.slice(1, -1)] }];
  },
  refuse(node) {
    const { dtype } = operand(node, 0);
    if (!isFloat(dtype)) return `it samples ${dtype}`;
    if (!modeOf(node)) return `mode '${stringAttribute(node, 'mode')}' is not known`;
    return paddingOf(node)
      ? undefined
      : `padding mode '${stringAttribute(node, 'padding_mode')}' is not known`;
  },
  lower(node, lowering) {
    const x = lowering.view(operand(node, 0));
    gridSample(lowering, {
      x,
      grid: lowering.view(operand(node, 1)),
      y: lowering.allocate(node.outputs[0]!, { order: memoryOrder(x) }),
      mode: modeOf(node)!,
      padding: paddingOf(node)!,
      alignCorners: intAttribute(node, 'align_corners', 0) !== 0,
      epilogue: lowering.epilogue(node),
    });
  },
};

export const samplingOps: OpTable = { GridSample: gridSampleOp };
