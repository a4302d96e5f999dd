import { describe, expect, test } from 'vitest';
import { interpret } from '../../test/interpret.ts';
import { einsumReference } from '../../test/reference/einsum.ts';
import { node, noise, relativeError, specialized } from '../../test/specialized.ts';
import { ShapeError } from '../errors.ts';
import type { Graph } from '../graph/graph.ts';
import { sizeOf } from '../tensor/shape.ts';

const names = ['a', 'b', 'c'];

function graphOf(equation: string, shapes: readonly (readonly number[])[]): Promise<Graph> {
  const inputs = shapes.map((shape, k) => ({ name: names[k]!, dtype: 'float32' as const, shape }));
  const list = inputs.map(({ name }) => name).join(' ');
  return specialized({
    inputs,
    outputs: [{ name: 'y', dtype: 'float32' }],
    nodes: [node('Einsum', list, 'y', { equation: { string: equation } })],
  });
}

const cases = [
  { equation: 'ij->ji', shapes: [[2, 3]] },
  { equation: 'ij->', shapes: [[2, 3]] },
  { equation: 'ij', shapes: [[2, 3]] },
  { equation: 'ba', shapes: [[2, 3]], plain: 'ba->ab' },
  { equation: 'ii->i', shapes: [[3, 3]] },
  { equation: 'ii', shapes: [[3, 3]], plain: 'ii->' },
  { equation: 'iji->j', shapes: [[3, 2, 3]] },
  { equation: 'ij,jk', shapes: [[2, 3], [3, 4]], plain: 'ij,jk->ik' },
  { equation: 'ij,jk->ki', shapes: [[2, 3], [3, 4]] },
  { equation: 'i,j->ij', shapes: [[2], [3]] },
  { equation: 'i,i->', shapes: [[4], [4]] },
  { equation: 'ij,ij->ij', shapes: [[2, 3], [2, 3]] },
  { equation: 'bhqd,bhkd->bhqk', shapes: [[2, 3, 4, 5], [2, 3, 6, 5]] },
  { equation: 'bqhd,bkhd->bhqk', shapes: [[2, 4, 3, 5], [2, 6, 3, 5]] },
  { equation: 'ijk,jil->kl', shapes: [[2, 3, 4], [3, 2, 5]] },
  { equation: 'ij,jk,kl->il', shapes: [[2, 3], [3, 4], [4, 5]] },
  { equation: 'ij,i->', shapes: [[2, 3], [2]] },
  { equation: 'bij,bjk->bik', shapes: [[1, 2, 3], [4, 3, 2]] },
  { equation: 'ij,jk->ik', shapes: [[2, 1], [3, 4]] },
  { equation: 'nhwpqc->nchpwq', shapes: [[1, 2, 3, 2, 2, 4]] },
  { equation: '...ij,...jk->...ik', shapes: [[2, 3, 4], [5, 2, 4, 3]], plain: 'yij,xyjk->xyik' },
  { equation: '...a->a', shapes: [[2, 3, 4]], plain: 'xya->a' },
  { equation: 'a...', shapes: [[2, 3, 4]], plain: 'axy->xya' },
]; // prettier-ignore

describe('Einsum', () => {
  test.each(cases)('$equation of $shapes', async ({ equation, shapes, plain = equation }) => {
    const feeds = shapes.map((shape, k) => noise(sizeOf(shape), k));
    const [left, output = ''] = (plain.includes('->') ? plain : `${plain}->${plain}`).split('->');
    const operands = left!.split(',').map((labels, k) => ({ labels, shape: shapes[k]!, data: feeds[k]! }));
    const graph = await graphOf(equation, shapes);
    const results = await interpret(graph, new Map(feeds.map((data, k) => [names[k]!, data])));
    expect(relativeError(results.get('y')!, einsumReference(operands, output))).toBeLessThan(1e-6);
  });

  test('only views the operand where nothing is summed', async () => {
    const graph = await graphOf('nhwpqc->nchpwq', [[1, 2, 3, 2, 2, 4]]);
    expect(graph.nodes.map(({ op }) => op)).toEqual(['Transpose']);
  });

  test.each([
    { equation: 'ij,jk->ik', shapes: [[2, 3]] },
    { equation: 'ijk->i', shapes: [[2, 3]] },
    { equation: 'ij->ik', shapes: [[2, 3]] },
    { equation: 'ij,jk->ik', shapes: [[2, 3], [4, 5]] },
    { equation: 'i1->i', shapes: [[2, 3]] },
  ])('refuses $equation of $shapes', async ({ equation, shapes }) => {
    await expect(graphOf(equation, shapes)).rejects.toThrow(ShapeError);
  }); // prettier-ignore
});
