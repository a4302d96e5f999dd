import type { TensorView } from '../plan/plan.ts';

/** Optional factor and addend of a normalization, by channel or column. */
export interface Affine {
  /** Dense, float. */
  scale: TensorView | undefined;
  bias: TensorView | undefined;
}

/**
 * WGSL that reads them: `scale4(i) -> vec4f` and `bias4(i) -> vec4f` from element `i` on, a multiple of 4, or `scale1`
 * and `bias1` for one element. Ones and zeros where there is none.
 */
export function affineCode(
  affine: Affine,
  lanes: 1 | 4,
): { inputs: Record<string, TensorView>; functions: string } {
  const type = lanes === 4 ? 'vec4f' : 'f32';
  const inputs: Record<string, TensorView> = {};
  const reader = (name: keyof Affine, missing: string): string => {
    const view = affine[name];
    if (view) inputs[name] = view;
    const value = view ? `${name}_load${lanes === 4 ? '4' : ''}(i)` : `${type}(${missing})`;
    return `fn ${name}${lanes}(i: u32) -> ${type} { return ${value}; }`;
  };
  const functions = `${reader('scale', '1.0')}\n${reader('bias', '0.0')}`;
  return { functions, inputs };
}
