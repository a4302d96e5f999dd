import { describe, expect, test } from 'vitest';
import { UnsupportedOpError } from '../errors.ts';
import { float32, int64, type GraphSpec, type ModelSpec, type NodeSpec } from '../../test/onnx-writer.ts';
import { node, specialized } from '../../test/specialized.ts';
import { printGraph } from './print.ts';

/** sum ← sum + row; gives the sums so far. */
const running: GraphSpec = {
  inputs: [{ name: 'sum' }, { name: 'row' }],
  outputs: [{ name: 'next' }, { name: 'seen' }],
  nodes: [node('Add', 'sum row', 'next'), node('Identity', 'next', 'seen')],
};

const scan: ModelSpec = {
  inputs: [
    { name: 'start', dtype: 'float32', shape: [2] },
    { name: 'rows', dtype: 'float32', shape: ['count', 2] },
  ],
  outputs: [
    { name: 'total', dtype: 'float32' },
    { name: 'sums', dtype: 'float32' },
  ],
  nodes: [
    node('Scan', 'start rows', 'total sums', {
      num_scan_inputs: { int: 1 },
      scan_input_directions: { ints: [1] },
      body: { graph: running },
    }),
  ],
};

/** Counts to `limit` by twos, starting at 0, while the count is below 5. */
const counting = (limit: number): ModelSpec => ({
  inputs: [],
  outputs: [
    { name: 'last', dtype: 'int64' },
    { name: 'seen', dtype: 'int64' },
  ],
  initializers: { limit: int64([], [limit]), zero: int64([], [0]) },
  nodes: [
    node('Loop', 'limit _ zero', 'last seen', {
      body: {
        graph: {
          inputs: [{ name: 'i' }, { name: 'going' }, { name: 'count' }],
          outputs: [{ name: 'small' }, { name: 'next' }, { name: 'count' }],
          initializers: { two: int64([], [2]), five: int64([], [5]) },
          nodes: [node('Add', 'count two', 'next'), node('Less', 'next five', 'small')],
        },
      },
    }),
  ],
});

describe('Scan', () => {
  test('is its body once for each row, from the last to the first', async () => {
    expect(printGraph(await specialized(scan, { start: [2], rows: [3, 2] }))).toMatchInlineSnapshot(`
      "input start: float32[2]
      input rows: float32[3,2]
      %0: float32[2] = Gather(rows, 2) {axis=0}
      %1: float32[2] = Add(start, %0)
      %2: float32[2] = Identity(%1)
      %3: float32[2] = Gather(rows, 1) {axis=0}
      %4: float32[2] = Add(%1, %3)
      %5: float32[2] = Identity(%4)
      %6: float32[2] = Gather(rows, 0) {axis=0}
      %7: float32[2] = Add(%4, %6)
      %8: float32[2] = Identity(%7)
      %9: float32[1,2] = Unsqueeze(%2, [0])
      %10: float32[1,2] = Unsqueeze(%5, [0])
      %11: float32[1,2] = Unsqueeze(%8, [0])
      %12: float32[3,2] = Concat(%9, %10, %11) {axis=0}
      output total = %7
      output sums = %12"
    `);
  });

  test('over nothing has results of no known shape', async () => {
    await expect(specialized(scan, { start: [2], rows: [0, 2] })).rejects.toThrow(/no step is taken/);
  });
});

test.each<[string, NodeSpec, RegExp]>([
  [
    'a state',
    node('Scan', 'rows', 'total sums', { num_scan_inputs: { int: 1 }, body: { graph: running } }),
    /takes 2 values and is given 1/,
  ],
  [
    'a value',
    node('Scan', '_ rows', 'total sums', { num_scan_inputs: { int: 1 }, body: { graph: running } }),
    /operand is missing/,
  ],
  [
    'a result',
    node('Scan', 'start rows', 'total sums more', { num_scan_inputs: { int: 1 }, body: { graph: running } }),
    /gives 2 results/,
  ],
  ['its condition', node('If', '_', 'total', { then_branch: { graph: running } }), /condition is missing/],
])('a node that lacks %s is refused', async (_, broken, message) => {
  const outputs = [{ name: 'total', dtype: 'float32' } as const];
  const refused = specialized({ ...scan, outputs, nodes: [broken] }, { start: [2], rows: [3, 2] });
  await expect(refused).rejects.toThrow(UnsupportedOpError);
  await expect(refused).rejects.toThrow(message);
});

describe('Loop', () => {
  test('ends when its condition fails', async () => {
    const [last, seen] = (await specialized(counting(100), {})).outputs.map(valueOf);
    expect(last).toEqual([6]);
    expect(seen).toEqual([0, 2, 4]);
  });

  test('ends at its trip count', async () => {
    const [last, seen] = (await specialized(counting(2), {})).outputs.map(valueOf);
    expect(last).toEqual([4]);
    expect(seen).toEqual([0, 2]);
  });

  test('without end is refused', async () => {
    const endless: ModelSpec = {
      inputs: [],
      outputs: [{ name: 'last', dtype: 'float32' }],
      initializers: { limit: int64([], [Number.MAX_SAFE_INTEGER]), zero: float32([], [0]) },
      nodes: [
        node('Loop', 'limit _ zero', 'last', {
          body: {
            graph: {
              inputs: [{ name: 'i' }, { name: 'going' }, { name: 'x' }],
              outputs: [{ name: 'going' }, { name: 'x' }],
            },
          },
        }),
      ],
    };
    await expect(specialized(endless, {})).rejects.toThrow(UnsupportedOpError);
  });
});

/** Elements of a graph output that is known; outputs are Identity nodes then. */
function valueOf({ origin }: { origin: { kind: string } }): number[] | undefined {
  const { node: made } = origin as { node?: { inputs: { origin: { data?: Float64Array } }[] } };
  const data = made?.inputs[0]?.origin.data;
  return data && Array.from(data);
}
