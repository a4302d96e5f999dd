import { describe, expect, test } from 'vitest';
import { TestGraph } from '../../test/run-graph.ts';
import { node, noise, optimised, relativeError, specialized } from '../../test/specialized.ts';
import { interpret } from '../../test/interpret.ts';
import { groupNorm } from '../../test/reference/normalization.ts';
import { ShapeError } from '../errors.ts';
import { OWN_DOMAIN, type Value } from '../graph/graph.ts';
import { sizeOf } from '../tensor/shape.ts';

/** The result's shape for operands of these shapes. */
function shapeOf(op: string, shapes: number[][], attributes = {}, options = {}): readonly number[] {
  const graph = new TestGraph();
  const inputs = shapes.map((shape, k): Value => {
    const data = new Float64Array(sizeOf(shape));
    return graph.input(`x${k}`, { shape, data });
  });
  return graph.node(op, inputs, attributes, options)[0]!.shape;
}

describe('normalizations', () => {
  test.each([
    { op: 'GroupNorm', shapes: [[1, 8, 4]], attributes: { groups: 3 }, options: { domain: OWN_DOMAIN } },
    { op: 'GroupNorm', shapes: [[1, 8, 4], [4]], attributes: { groups: 2 }, options: { domain: OWN_DOMAIN } },
    { op: 'GroupNorm', shapes: [[8]], attributes: { groups: 2 }, options: { domain: OWN_DOMAIN } },
    { op: 'GroupNormalization', shapes: [[1, 8, 4], [2], [2]], attributes: { num_groups: 2 } },
    {
      op: 'GroupNormalization',
      shapes: [[1, 8, 4], [8], [8]],
      attributes: { num_groups: 2 },
      options: { opset: 18 },
    },
    { op: 'InstanceNormalization', shapes: [[1, 8, 4], [8], [4]] },
    { op: 'LayerNormalization', shapes: [[2, 8], [7]] },
    {
      op: 'LayerNormalization',
      shapes: [
        [2, 8],
        [3, 2, 8],
      ],
    },
    { op: 'LayerNormalization', shapes: [[2, 8], [8]], attributes: { axis: 2 } },
    { op: 'BatchNormalization', shapes: [[2, 3, 4], [3], [3], [3], [4]] },
  ])('refuses $op of $shapes', ({ op, shapes, attributes, options }) => {
    expect(() => shapeOf(op, shapes, attributes, options)).toThrow(ShapeError);
  });

  test.each([18, 21])('GroupNormalization of opset %i becomes GroupNorm', async (opset) => {
    const [groups, channels] = [2, 6];
    const count = opset < 21 ? groups : channels;
    const shapes = { x: [2, channels, 3, 3], scale: [count], bias: [count] };
    const spec = {
      inputs: Object.entries(shapes).map(([name, shape]) => ({ name, dtype: 'float32' as const, shape })),
      outputs: [{ name: 'y', dtype: 'float32' as const }],
      nodes: [
        node('GroupNormalization', 'x scale bias', 'y', {
          num_groups: { int: groups },
          epsilon: { float: 0.25 },
        }),
      ],
      opsets: { '': opset },
    };
    const graph = await specialized(spec);
    expect(graph.nodes.at(-1)).toMatchObject({ op: 'GroupNorm', domain: OWN_DOMAIN });
    const feeds = new Map(Object.entries(shapes).map(([name, shape], k) => [name, noise(sizeOf(shape), k)]));
    const byChannel = (name: string): Float64Array =>
      Float64Array.from(
        { length: channels },
        (_, c) => feeds.get(name)![Math.floor((c * count) / channels)]!,
      );
    const expected = groupNorm(
      feeds.get('x')!,
      shapes.x,
      groups,
      0.25,
      byChannel('scale'),
      byChannel('bias'),
    );
    const results = await interpret(graph, feeds);
    expect(relativeError(results.get('y')!, expected)).toBeLessThan(1e-6);
  });

  test('BatchNormalization with weights becomes one elementwise operation', async () => {
    const weight = (seed: number) => ({
      dtype: 'float32' as const,
      dims: [4],
      floats: Array.from(noise(4, seed), (v) => v + 1.5),
    });
    const graph = await optimised({
      inputs: [{ name: 'x', dtype: 'float32', shape: [2, 4, 3, 3] }],
      outputs: [{ name: 'y', dtype: 'float32' }],
      nodes: [node('BatchNormalization', 'x s b m v', 'y')],
      initializers: { s: weight(1), b: weight(2), m: weight(3), v: weight(4) },
    });
    const own = graph.nodes.filter(({ inputs }) => inputs.some((value) => value?.origin.kind === 'input'));
    expect(own).toHaveLength(1);
  });
});
