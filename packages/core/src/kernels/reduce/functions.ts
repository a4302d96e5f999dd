/** How an operator reduces, in WGSL that holds for scalars and vec4s alike. */
export interface Reduction {
  /** Elements that combine to nothing. */
  initial: string;
  /** What to do to each element `v` first. */
  before: string;
  /** Combination of `a` and `b`, in any order. */
  combine: string;
  /** What to do to the result `v`; `params.count` is the number of elements that were reduced, in f32. */
  after: string;
}

export type ReductionName =
  | 'Sum' | 'Mean' | 'Max' | 'Min' | 'Prod' | 'SumSquare' | 'L1' | 'L2' | 'LogSum'; // prettier-ignore

type Scalar = 'f32' | 'i32' | 'u32';

/** WGSL of a reduction over elements of type `scalar`. `bool` reduces as u32, between 0 and 1. */
export function reductionOf(name: ReductionName, scalar: Scalar, bool = false): Reduction {
  const float = scalar === 'f32';
  const sum: Reduction = { initial: 'Scalar(0)', before: 'v', combine: 'a + b', after: 'v' };
  const throughFloat = (expr: string): string =>
    float ? expr : `Value(${expr.replace('v', 'FloatValue(v)')})`;
  switch (name) {
    case 'Sum':
      return sum;
    case 'Mean':
      return { ...sum, after: 'v / Value(Scalar(params.count))' };
    case 'SumSquare':
      return { ...sum, before: 'v * v' };
    case 'L1':
      return { ...sum, before: scalar === 'u32' ? 'v' : 'abs(v)' };
    case 'L2':
      return { ...sum, before: 'v * v', after: throughFloat('sqrt(v)') };
    case 'LogSum':
      return { ...sum, after: throughFloat('log(v)') };
    case 'Prod':
      return { initial: 'Scalar(1)', before: 'v', combine: 'a * b', after: 'v' };
    case 'Max': {
      const lowest = { f32: '-inf_f32()', i32: 'i32(-2147483647 - 1)', u32: '0u' };
      return { initial: lowest[scalar], before: 'v', combine: 'max(a, b)', after: 'v' };
    }
    case 'Min': {
      const highest = { f32: 'inf_f32()', i32: '2147483647', u32: bool ? '1u' : '4294967295u' };
      return { initial: highest[scalar], before: 'v', combine: 'min(a, b)', after: 'v' };
    }
  }
}
