import { call, constant, input, type Expr } from '../../graph/expr.ts';
import type { DispatchSpec } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { elementwise } from '../elementwise/elementwise.ts';
import { indexedKernel } from '../movement/indexed.ts';
import { scalarOf } from '../shader.ts';
import source from './dequantize.wgsl';

/** A quantized tensor: `(x - zero) · scale`. */
export interface Quantized {
  x: TensorView;
  /** Broadcasts to x; where there are blocks, of x's rank with one element for each block. */
  scale: TensorView;
  /** A tensor like `scale` or one number for all. */
  zero: TensorView | number;
  /** Neighbours along an axis that share a scale. */
  block?: { axis: number; size: number };
}

/** The only kernel that dequantizes on its own; in the load phase for weights. */
export function dequantize({ x, scale, zero, block }: Quantized, output: TensorView): DispatchSpec {
  const name = `dequantize_${x.storage}_${output.storage}`;
  if (!block) {
    const offset: Expr = typeof zero === 'number' ? constant(zero) : toFloat(zero, 2);
    const expr = call('mul', [call('sub', [toFloat(x, 0), offset]), input(1)]);
    return elementwise(name, expr, typeof zero === 'number' ? [x, scale] : [x, scale, zero], output);
  }
  const isNumber = typeof zero === 'number';
  const offset = isNumber ? `f32(${zero})` : 'f32(zero_at(group))';
  return indexedKernel({
    name: `${name}_blocks`,
    output,
    inputs: { x, scale, ...(!isNumber && { zero }) },
    constants: { AXIS: block.axis, BLOCK: block.size },
    body: `fn zero_point(group: Index) -> f32 { return ${offset}; }\n${source}`,
  });
}

function toFloat(view: TensorView, index: number): Expr {
  const type = scalarOf(view.storage);
  return type === 'f32' ? input(index) : call('toF32', [input(index, type)]);
}
