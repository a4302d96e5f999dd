import { describe, test } from 'vitest';
import { byTurns, openEngine } from '../../test/engine.ts';
import { compareWithFold, type FoldCase, type FoldOperand } from '../../test/against-fold.ts';

const x = (...shape: number[]): FoldOperand => ({ shape });
const ints = (...data: number[]): FoldOperand => ({
  shape: [data.length],
  dtype: 'int64',
  data,
  known: 'constant',
});
const index = (shape: number[], data: number[]): FoldOperand => ({ shape, dtype: 'int64', data });

const movement: FoldCase[] = [
  { name: 'channels', op: 'Concat', operands: [x(2, 3, 5), x(2, 1, 5), x(2, 8, 5)], attributes: { axis: 1 } },
  {
    name: 'innermost, odd sizes',
    op: 'Concat',
    operands: [x(3, 5), x(3, 1), x(3, 7)],
    attributes: { axis: 1 },
  },
  {
    name: 'innermost, fours',
    op: 'Concat',
    operands: [x(3, 8), x(3, 4), x(3, 12)],
    attributes: { axis: -1 },
    adapter: 'test',
  },
  {
    name: 'innermost, fours, one by one',
    op: 'Concat',
    operands: [x(3, 8), x(3, 4), x(3, 12)],
    attributes: { axis: -1 },
    adapter: 'swiftshader',
  },
  {
    name: 'an operand known when loading, on a processor',
    op: 'Concat',
    operands: [x(3, 8), { ...x(3, 4), known: 'weight' }],
    attributes: { axis: -1 },
    adapter: 'swiftshader',
  },
  { name: 'an empty operand', op: 'Concat', operands: [x(2, 0, 3), x(2, 2, 3)], attributes: { axis: 1 } },
  {
    name: 'more operands than bindings',
    op: 'Concat',
    operands: Array.from({ length: 11 }, (_, k) => x(2, 1 + (k % 3), 3)),
    attributes: { axis: 1 },
    limits: { maxStorageBuffersPerShaderStage: 4 },
  },
  {
    name: 'constant, negative',
    op: 'Pad',
    operands: [x(3, 4, 5), ints(0, 1, -2, 2, -1, 3), { shape: [], data: [0.5] }],
  },
  { name: 'reflect', op: 'Pad', operands: [x(4, 5), ints(3, 2, 1, 4)], attributes: { mode: 'reflect' } },
  { name: 'edge', op: 'Pad', operands: [x(4, 5), ints(3, 2, 1, 6)], attributes: { mode: 'edge' } },
  { name: 'wrap', op: 'Pad', operands: [x(4, 5), ints(5, 2, 1, 6)], attributes: { mode: 'wrap' } },
  {
    name: 'of an axis',
    op: 'Pad',
    operands: [x(2, 3, 4), ints(1, 2), { shape: [], data: [0] }, ints(-2)],
  },
  { name: 'some axes', op: 'Tile', operands: [x(2, 1, 3), ints(2, 3, 1)] },
  { name: 'upper', op: 'Trilu', operands: [x(2, 4, 5), { shape: [], dtype: 'int64', data: [1] }] },
  { name: 'lower', op: 'Trilu', operands: [x(5, 3)], attributes: { upper: 0 } },
  {
    name: 'backwards, every other',
    op: 'Slice',
    operands: [x(5, 7), ints(-1, 6), ints(-99, 0), ints(0, 1), ints(-1, -2)],
  },
  { name: 'beyond the ends', op: 'Slice', operands: [x(5, 7), ints(-99, 3), ints(99, 99)] },
  {
    name: 'attributes',
    op: 'Slice',
    operands: [x(5, 7)],
    attributes: { starts: [1], ends: [-1], axes: [1] },
    opset: 9,
  },
  { name: 'sizes', op: 'Split', operands: [x(6, 3), ints(1, 0, 5)], outputs: 3 },
  {
    name: 'a smaller last part',
    op: 'Split',
    operands: [x(3, 7)],
    attributes: { axis: 1, num_outputs: 3 },
    outputs: 3,
  },
  { name: 'a permutation', op: 'Transpose', operands: [x(2, 3, 4, 5)], attributes: { perm: [2, 0, 3, 1] } },
  { name: 'that needs a copy', op: 'Reshape', operands: [x(4, 6), ints(3, -1)] },
  { name: 'new axes', op: 'Expand', operands: [x(3, 1), ints(2, 1, 5)] },
  {
    name: 'floats',
    op: 'Range',
    operands: [[0.5], [4], [0.75]].map((data): FoldOperand => ({ shape: [], data, known: 'constant' })),
  },
  { name: 'off the diagonal', op: 'EyeLike', operands: [x(4, 6)], attributes: { k: -1 } },
];

const indexing: FoldCase[] = [
  { name: 'rows', op: 'Gather', operands: [x(6, 5), index([2, 2], [5, 0, -1, 3])] },
  { name: 'columns', op: 'Gather', operands: [x(3, 6, 2), index([3], [5, -6, 2])], attributes: { axis: 1 } },
  { name: 'one index', op: 'Gather', operands: [x(3, 6), index([], [-2])], attributes: { axis: 1 } },
  {
    name: 'known indices in a row are a view',
    op: 'Gather',
    operands: [x(6, 5), { shape: [2, 2], dtype: 'int64', data: [4, 3, 2, 1], known: 'constant' }],
  },
  ...(['float16', 'int8', 'uint8', 'int32'] as const).map((dtype): FoldCase => ({
    name: `from a table of ${dtype}`,
    op: 'Gather',
    operands: [
      { shape: [5, 3], dtype, data: Array.from({ length: 15 }, (_, i) => i * 3), known: 'weight' },
      index([3], [4, 0, -2]),
    ],
  })),
  {
    name: 'by element',
    op: 'GatherElements',
    operands: [x(3, 4), index([2, 4], [0, 2, -1, 1, 1, 0, 2, -3])],
  },
  { name: 'by coordinates', op: 'GatherND', operands: [x(3, 4, 5), index([2, 2], [2, -1, 0, 3])] },
  {
    name: 'by coordinates in batches',
    op: 'GatherND',
    operands: [x(2, 3, 4), index([2, 2, 1], [2, 0, 1, -1])],
    attributes: { batch_dims: 1 },
  },
  {
    name: 'an inner axis, indices outside',
    op: 'OneHot',
    operands: [index([2, 2], [0, -1, 7, 2]), { ...ints(3), shape: [] }, { shape: [2], data: [0.25, 1] }],
    attributes: { axis: 1 },
  },
  ...(['none', 'add', 'mul', 'max', 'min'] as const).map((reduction): FoldCase => ({
    name: reduction,
    op: 'ScatterElements',
    operands: [
      x(4, 5),
      index([2, 3], reduction === 'none' ? [1, 0, 2, 3, 1, 0] : [1, 0, 2, 1, -4, 2]),
      x(2, 3),
    ],
    attributes: { axis: 0, reduction },
  })),
  { name: 'slices', op: 'ScatterND', operands: [x(5, 3), index([2, 1], [4, -4]), x(2, 3)] },
  {
    name: 'known places',
    op: 'ScatterND',
    operands: [x(3, 4, 2), { ...ints(2, 1, 0, 3, 1, -1), shape: [3, 2] }, x(3, 2)],
    attributes: { reduction: 'add' },
  },
  {
    name: 'known places, some twice',
    op: 'ScatterND',
    operands: [x(4), { ...ints(2, 2, 0), shape: [3, 1] }, x(3)],
    attributes: { reduction: 'max' },
  },
];

const engine = openEngine();

describe.each(['f32', 'packed-f16'] as const)('%s', (precision) => {
  // Every case in both layouts, in one precision each.
  const turns = { 'row-major': precision, reversed: precision === 'f32' ? 'packed-f16' : 'f32' } as const;
  describe.each(['row-major', 'reversed'] as const)('%s operands', (layout) => {
    test.each(byTurns(turns[layout], [...movement, ...indexing]))('$op: $name', (item) =>
      compareWithFold(item, { engine: engine(), precision, layout }),
    );
  });
});
