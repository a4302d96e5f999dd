import { describe, expect, test } from 'vitest';
import type { TensorView } from '../../plan/plan.ts';
import { stridesOf } from '../../tensor/shape.ts';
import { reduceDesign } from './design.ts';
import { reduceProblem } from './reduce.ts';

function view(shape: number[], strides: number[] = stridesOf(shape), offset = 0): TensorView {
  return { buffer: 0, dtype: 'float32', storage: 'f32', shape, strides, offset };
}

describe('reduceProblem', () => {
  test.each([
    { name: 'the innermost axis', x: view([2, 3, 8]), axes: [2], mode: 'row', kept: [0, 1] },
    { name: 'an odd innermost axis', x: view([2, 3, 7]), axes: [2], mode: 'element', kept: [0, 1] },
    { name: 'an outer axis', x: view([2, 3, 8]), axes: [1], mode: 'column', kept: [0, 2] },
    {
      name: 'positions of channels-last memory',
      x: view([2, 8, 3, 3], [72, 1, 24, 8]),
      axes: [2, 3],
      mode: 'column',
      kept: [0, 1],
    },
    {
      name: 'channels of channels-last memory',
      x: view([2, 8, 3, 3], [72, 1, 24, 8]),
      axes: [1],
      mode: 'row',
      kept: [0, 2, 3],
    },
    { name: 'an unaligned view', x: view([2, 8], [8, 1], 1), axes: [1], mode: 'element', kept: [0] },
  ])('$name', ({ x, axes, mode, kept }) => {
    expect(reduceProblem(x, axes)).toMatchObject({ mode, kept });
  });
});

describe('reduceDesign', () => {
  test('gives a row some lanes, many rows a workgroup', () => {
    expect(reduceDesign('row', 8192, 80)).toMatchObject({ lanes: 16, threads: 256, chunks: 1 });
  });

  test('leaves a thread to itself where there are enough of them', () => {
    expect(reduceDesign('column', 100_000, 12)).toMatchObject({ lanes: 1, chunks: 1 });
  });

  test('splits a few long reductions over workgroups', () => {
    const design = reduceDesign('column', 128, 65_536);
    expect(design).toMatchObject({ lanes: 16, threads: 256, neighbours: true, chunks: 64 });
    expect(design.chunks * design.chunkUnits).toBeGreaterThanOrEqual(65_536);
  });

  test('covers every unit', () => {
    for (const mode of ['row', 'column', 'element'] as const) {
      for (const items of [1, 5, 1000]) {
        for (const units of [0, 1, 3, 255, 4097, 100_003]) {
          const { chunks, chunkUnits, lanes, threads } = reduceDesign(mode, items, units);
          expect(chunks * chunkUnits).toBeGreaterThanOrEqual(units);
          expect(threads % lanes).toBe(0);
        }
      }
    }
  });
});
