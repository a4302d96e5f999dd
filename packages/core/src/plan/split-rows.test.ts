import { expect, test } from 'vitest';
import type { TensorRef } from '../onnx/model.ts';
import { splitRows } from './split-rows.ts';

const ref = (dims: number[], dtype: TensorRef['dtype'] = 'float16'): TensorRef => ({
  name: 'w',
  dtype,
  dims,
  data: { kind: 'missing', location: 'w.bin', offset: 1000, length: dims.reduce((a, b) => a * b, 2) },
});

test('parts follow each other and cover the rows', () => {
  const parts = splitRows(ref([100, 8]), 40 * 16, 16);
  expect(parts.map(({ name, dims }) => [name, ...dims])).toEqual([
    ['w[0:32]', 32, 8],
    ['w[32:64]', 32, 8],
    ['w[64:96]', 32, 8],
    ['w[96:100]', 4, 8],
  ]);
  expect(parts.map(({ data }) => data)).toMatchObject([
    { offset: 1000, length: 512 },
    { offset: 1512, length: 512 },
    { offset: 2024, length: 512 },
    { offset: 2536, length: 64 },
  ]);
});

test('rows that do not fit, or do not end on bytes, are not split', () => {
  expect(splitRows(ref([100, 8]), 40 * 16, 64)).toEqual([]);
  expect(splitRows(ref([100, 3], 'int4'), 64, 1)).toEqual([]);
});
