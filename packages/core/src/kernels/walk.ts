import type { TensorView } from '../plan/plan.ts';
import { denseOrder, rowMajor } from '../plan/view.ts';
import { u32, type Param } from './shader.ts';

/** Nested loops over a tensor: sizes and element strides, outermost first. */
export interface Walk {
  dims: number[];
  strides: number[];
}

/** The loops over some axes of a view, in the order given, merged where memory allows. */
export function walkAxes(view: TensorView, axes: readonly number[]): Walk {
  const walk: Walk = { dims: [], strides: [] };
  for (const axis of axes) {
    const dim = view.shape[axis]!;
    const stride = view.strides[axis]!;
    if (dim === 1) continue;
    const last = walk.dims.length - 1;
    if (last >= 0 && walk.strides[last] === stride * dim) {
      walk.dims[last]! *= dim;
      walk.strides[last] = stride;
    } else {
      walk.dims.push(dim);
      walk.strides.push(stride);
    }
  }
  return walk;
}

/** WGSL that finds elements of a walk. */
export interface WalkCode {
  functions: string;
  params: Record<string, Param>;
}

/**
 * `fn NAME(i: u32) -> u32`: offset of the walk's element `i`, counted from the walk's start. Sizes are params named
 * after `name`, so that one pipeline serves all sizes of the same rank. Negative strides wrap around, as u32 does.
 */
export function walkCode(name: string, { dims, strides }: Walk): WalkCode {
  const params: Record<string, Param> = {};
  let code = 'var offset = 0u; var rest = i; ';
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    const index = axis === 0 ? 'rest' : `(rest % params.${name}_d${axis})`;
    const stride = strides[axis]!;
    if (stride === 1) code += `offset += ${index}; `;
    else if (stride !== 0) {
      params[`${name}_s${axis}`] = u32(stride >>> 0);
      code += `offset += ${index} * params.${name}_s${axis}; `;
    }
    if (axis > 0) {
      params[`${name}_d${axis}`] = u32(dims[axis]!);
      code += `rest = rest / params.${name}_d${axis}; `;
    }
  }
  return { functions: `fn ${name}(i: u32) -> u32 { ${code}return offset; }`, params };
}

/** The order in which a view's axes lie in memory, also where it has holes or repeats: largest stride first. */
export function memoryOrder(view: TensorView): number[] {
  return denseOrder(view) ?? byStride(view, rowMajor(view.shape.length));
}

/** Axes of a view from the largest stride to the smallest. */
export function byStride(view: TensorView, axes: readonly number[]): number[] {
  return axes.toSorted((a, b) => Math.abs(view.strides[b]!) - Math.abs(view.strides[a]!));
}
