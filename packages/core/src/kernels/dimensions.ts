import type { TensorView } from '../plan/plan.ts';
import { denseOrder } from '../plan/view.ts';
import { u32, type Param } from './shader.ts';

/** One loop over a result in memory order. */
export interface Dimension {
  /** Axis of the result, where the loop is one that `own` asked for. */
  axis: number | undefined;
  size: number;
  /** Elements from one to the next in each tensor that is walked along. */
  strides: number[];
}

/**
 * Loops over a dense result, outermost first. Neighbours that all tensors walk alike are one loop, except for the
 * axes that have an operator's own way of reading the operand.
 *
 * @param walked strides by axis of each tensor that is read for the result
 * @param own axes that are kept apart
 */
export function mergedDimensions(
  result: TensorView,
  walked: readonly (readonly number[])[],
  own: (axis: number) => boolean,
): Dimension[] {
  const order = denseOrder(result);
  if (!order || result.offset !== 0) throw new Error('Internal error: a result is not dense');
  const dimensions: Dimension[] = [];
  for (const at of order) {
    const axis = own(at) ? at : undefined;
    const size = result.shape[at]!;
    const strides = walked.map((tensor) => tensor[at]!);
    if (size === 1 && axis === undefined) continue;
    const outer = dimensions.at(-1);
    const continues = outer?.axis === undefined && outer?.strides.every((s, k) => s === strides[k]! * size);
    if (outer && continues && axis === undefined) {
      outer.size *= size;
      outer.strides = strides;
    } else dimensions.push({ axis, size, strides });
  }
  return dimensions.length > 0 ? dimensions : [{ axis: undefined, size: 1, strides: walked.map(() => 0) }];
}

/** Whether the operand (the first of the walked tensors) is read in aligned vec4s along the innermost loop. */
export function movesInFours(operand: TensorView, dimensions: readonly Dimension[]): boolean {
  const { axis, strides, size } = dimensions.at(-1)!;
  const outer = dimensions.slice(0, -1);
  return (
    axis === undefined &&
    strides[0] === 1 &&
    size % 4 === 0 &&
    operand.offset % 4 === 0 &&
    outer.every((dimension) => dimension.strides[0]! % 4 === 0)
  );
}

/** WGSL that finds an element's index in every loop. */
export interface DecodeCode {
  /** `let c0`, `c1`, … for each dimension from `i`, the element's place in memory. */
  code: string;
  params: Record<string, Param>;
}

export function decodeCode(dimensions: readonly Dimension[]): DecodeCode {
  const params: Record<string, Param> = {};
  let code = 'var rest = i;\n';
  for (let k = dimensions.length - 1; k > 0; k--) {
    params[`d${k}`] = u32(dimensions[k]!.size);
    code += `let c${k} = rest % params.d${k};\nrest = rest / params.d${k};\n`;
  }
  return { code: `${code}let c0 = rest;\n`, params };
}
