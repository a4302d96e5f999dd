import { describe, expect, test } from 'vitest';
import type { TensorView } from '../plan/plan.ts';
import { stridesOf } from '../tensor/shape.ts';
import { contiguousRows, hasVectorRows, rowsDesign } from './rows.ts';
import { walkAxes, walkCode } from './walk.ts';

function view(shape: number[], strides: number[] = stridesOf(shape), offset = 0): TensorView {
  return { buffer: 0, dtype: 'float32', storage: 'f32', shape, strides, offset };
}

describe('rowsDesign', () => {
  test.each([
    { rows: 8192, length: 320, design: { lanes: 32, threads: 256, perLane: 3, keep: true } },
    { rows: 2048, length: 1280, design: { lanes: 128, threads: 256, perLane: 3, keep: true } },
    { rows: 77, length: 768, design: { lanes: 128, threads: 128, perLane: 2, keep: true } },
    { rows: 98_304, length: 64, design: { lanes: 4, threads: 256, perLane: 4, keep: true } },
    { rows: 2, length: 9000, design: { lanes: 256, threads: 256, perLane: 9, keep: false } },
    { rows: 1, length: 1, design: { lanes: 1, threads: 64, perLane: 1, keep: true } },
  ])('$rows rows of $length', ({ rows, length, design }) => {
    expect(rowsDesign(rows, length)).toEqual(design);
  });
});

describe('contiguousRows', () => {
  test('takes the last axes of a dense tensor', () => {
    const rows = contiguousRows(view([2, 3, 8]), [2])!;
    expect(rows).toMatchObject({ outer: [0, 1], rows: 6, length: 8 });
    expect(hasVectorRows(rows)).toBe(true);
  });

  test('takes heads of a transposed view in the order of memory', () => {
    // [batch, heads, tokens, size] over [batch, tokens, heads, size]
    const rows = contiguousRows(view([2, 3, 5, 8], [120, 8, 24, 1]), [3])!;
    expect(rows.outer).toEqual([0, 2, 1]);
  });

  test('takes channels of channels-last memory', () => {
    expect(contiguousRows(view([2, 8, 4, 4], [128, 1, 32, 8]), [1])).toMatchObject({ rows: 32, length: 8 });
  });

  test('does not take axes with gaps or in another order', () => {
    expect(contiguousRows(view([2, 3], [1, 2]), [1])).toBeUndefined();
    expect(contiguousRows(view([2, 3, 4], [12, 1, 3]), [1, 2])).toBeUndefined();
  });

  test('sees rows that are no aligned vec4s', () => {
    expect(hasVectorRows(contiguousRows(view([2, 6]), [1])!)).toBe(false);
    expect(hasVectorRows(contiguousRows(view([2, 8], [10, 1]), [1])!)).toBe(false);
    expect(hasVectorRows(contiguousRows(view([2, 8], [8, 1], 2), [1])!)).toBe(false);
    expect(hasVectorRows(contiguousRows(view([1, 8], [10, 1]), [1])!)).toBe(true);
  });
});

describe('walk', () => {
  test('merges axes that memory holds one after the other', () => {
    const x = view([2, 3, 4, 5], [60, 20, 5, 1]);
    expect(walkAxes(x, [0, 1, 2, 3])).toEqual({ dims: [120], strides: [1] });
    expect(walkAxes(x, [0, 2])).toEqual({ dims: [2, 4], strides: [60, 5] });
  });

  test('wraps negative strides around', () => {
    const { functions, params } = walkCode('x_outer', { dims: [2, 3], strides: [-3, 1] });
    expect(functions).toMatchInlineSnapshot(
      `"fn x_outer(i: u32) -> u32 { var offset = 0u; var rest = i; offset += (rest % params.x_outer_d1); rest = rest / params.x_outer_d1; offset += rest * params.x_outer_s0; return offset; }"`,
    );
    expect(params).toEqual({
      x_outer_d1: { type: 'u32', value: 3 },
      x_outer_s0: { type: 'u32', value: 2 ** 32 - 3 },
    });
  });
});
