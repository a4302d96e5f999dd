import { describe, expect, test } from 'vitest';
import { TestGraph } from '../../test/run-graph.ts';
import { ShapeError } from '../errors.ts';
import { sizeOf } from '../tensor/shape.ts';

// Sizes that pooling and resizing give.

const image = (graph: TestGraph, shape: number[]) =>
  graph.input('x', { shape, data: new Float64Array(sizeOf(shape)) });

describe('pooling', () => {
  const pooled = (
    shape: number[],
    attributes: Record<string, string | number | number[]>,
  ): readonly number[] => {
    const graph = new TestGraph();
    return graph.node('MaxPool', [image(graph, shape)], attributes)[0]!.shape;
  };

  test.each([
    { name: 'floor', shape: [1, 2, 6, 5], attributes: { kernel_shape: [2, 2], strides: [2, 2] }, sizes: [3, 2] },
    { name: 'ceil', shape: [1, 2, 6, 5], attributes: { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 }, sizes: [3, 3] },
    // The third window would start in the padding.
    { name: 'ceil, padded', shape: [1, 2, 3], attributes: { kernel_shape: [2], strides: [3], pads: [1, 1], ceil_mode: 1 }, sizes: [2] },
    { name: 'dilated', shape: [1, 2, 7], attributes: { kernel_shape: [3], dilations: [2] }, sizes: [3] },
    { name: 'same', shape: [1, 2, 7], attributes: { kernel_shape: [3], strides: [2], auto_pad: 'SAME_UPPER' }, sizes: [4] },
    { name: 'valid', shape: [1, 2, 7], attributes: { kernel_shape: [3], strides: [2], auto_pad: 'VALID', pads: [1, 1] }, sizes: [3] },
  ])('$name', ({ shape, attributes, sizes }) => {
    expect(pooled(shape, attributes).slice(2)).toEqual(sizes);
  }); // prettier-ignore

  test.each([
    { shape: [1, 2, 4], attributes: { kernel_shape: [2, 2] } },
    { shape: [1, 2, 4], attributes: { kernel_shape: [2], strides: [0] } },
    { shape: [1, 2, 4], attributes: { kernel_shape: [2], pads: [1] } },
    { shape: [1, 2, 4], attributes: { kernel_shape: [8], strides: [2] } },
    { shape: [1, 2, 4], attributes: {} },
  ])('refuses $attributes for $shape', ({ shape, attributes }) => {
    expect(() => pooled(shape, attributes)).toThrow(ShapeError);
  });
});

describe('Resize', () => {
  const resized = (
    shape: number[],
    by: { scales?: number[]; sizes?: number[] },
    attributes: Record<string, string | number[]> = {},
  ): readonly number[] => {
    const graph = new TestGraph();
    const scales = by.scales && graph.constant(by.scales, [by.scales.length]);
    const sizes = by.sizes && graph.constant(by.sizes, [by.sizes.length], 'int64');
    return graph.node('Resize', [image(graph, shape), undefined, scales, sizes], attributes)[0]!.shape;
  };

  test('rounds scaled sizes down, from the product in f32', () => {
    expect(resized([1, 1, 10, 5], { scales: [1, 1, Math.fround(0.7), 1.5] })).toEqual([1, 1, 7, 7]);
  });

  test.each([
    { policy: 'stretch', sizes: [6, 6] },
    { policy: 'not_larger', sizes: [4, 6] },
    { policy: 'not_smaller', sizes: [6, 9] },
  ])('keeps the aspect ratio: $policy', ({ policy, sizes }) => {
    const attributes = { axes: [-2, -1], keep_aspect_ratio_policy: policy };
    expect(resized([1, 1, 2, 3], { sizes: [6, 6] }, attributes)).toEqual([1, 1, ...sizes]);
  });

  test('refuses scales that do not fit', () => {
    expect(() => resized([1, 1, 4, 4], { scales: [2, 2] })).toThrow(ShapeError);
    expect(() => resized([1, 1, 4, 4], {})).toThrow(ShapeError);
    expect(() => resized([1, 1, 4, 4], { scales: [1, 1, -1, 2] })).toThrow(ShapeError);
  });
});
