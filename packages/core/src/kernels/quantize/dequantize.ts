import { call, constant, input, type Expr } from '../../graph/expr.ts';
import type { DispatchSpec } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import type { Quantized } from '../../plan/quantized.ts';
import { elementwise } from '../elementwise/elementwise.ts';
import { indexedKernel } from '../movement/indexed.ts';
import { scalarOf } from '../shader.ts';

/** The kernel that dequantizes on its own. */
export function dequantize({ x, scale, zero, block }: Quantized, output: TensorView): DispatchSpec {
  const name = `dequantize_${x.storage}_${output.storage}`;
  if (!block) {
    const offset: Expr = typeof zero === 'number' ? constant(zero) : toFloat(zero, 2);
    const expr = call('mul', [call('sub', [toFloat(x, 0), offset]), input(1)]);
    return elementwise(name, expr, typeof zero === 'number' ? [x, scale] : [x, scale, zero], output);
  }
  const reads = dequantizedReads({ x, scale, zero, block }, 'dequantized');
  return indexedKernel({
    name: `${name}_blocks`,
    output,
    inputs: reads.inputs,
    body: `${reads.functions}
fn element(at: Index) -> Scalar { return dequantized(at); }`,
  });
}

/**
 * How an `indexedKernel` reads a quantized tensor: its inputs, and `fn NAME(at: x_Index) -> f32`.
 *
 * @param suffix of the inputs' names, where there are several such tensors
 */
export function dequantizedReads(
  { x, scale, zero, block }: Quantized,
  name: string,
  suffix = '',
): { inputs: Record<string, TensorView>; functions: string } {
  const isNumber = typeof zero === 'number';
  return {
    inputs: {
      [`x${suffix}`]: x,
      [`scale${suffix}`]: scale,
      ...(!isNumber && { [`zero${suffix}`]: zero }),
    },
    functions: `fn ${name}(at: x${suffix}_Index) -> f32 {
  var group = at;
  ${block ? `group[${block.axis}] = at[${block.axis}] / ${block.size}u;` : ''}
  return (f32(x${suffix}_at(at)) - ${isNumber ? `f32(${zero})` : `f32(zero${suffix}_at(group))`}) * scale${suffix}_at(group);
}`,
  };
}

function toFloat(view: TensorView, index: number): Expr {
  const type = scalarOf(view.storage);
  return type === 'f32' ? input(index) : call('toF32', [input(index, type)]);
}
