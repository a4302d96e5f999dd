import { expect, test } from 'vitest';
import { CalotypeError } from '../../src/errors.ts';
import { buildTemplate } from '../../src/graph/build.ts';
import type { Value } from '../../src/graph/graph.ts';
import { specialize } from '../../src/graph/specialize.ts';
import { nodeTests, type NodeTest } from './node-tests.ts';
import { declaredAs, differences } from './reference.ts';

/** Elements of an output that is known: an Identity of a constant. */
function known({ origin }: Value): Float64Array | undefined {
  const source =
    origin.kind === 'node' && origin.node.op === 'Identity' ? origin.node.inputs[0]!.origin : origin;
  return source.kind === 'constant' ? source.data : undefined;
}

/** What is wrong with the outputs that are computed on the CPU when all inputs are known; their number. */
async function fold({ source, references }: NodeTest): Promise<{ wrong: string[]; folded: number }> {
  const template = await buildTemplate(source, 'model.onnx');
  const values = new Map(
    template.inputs.map(({ name, shape }) => [name, declaredAs(references.get(name)!, shape)]),
  );
  const graph = await specialize(template, values, values);
  let folded = 0;
  const wrong = graph.outputs.flatMap((output, k) => {
    const data = known(output);
    const expected = references.get(output.name);
    if (!data || !expected) return [];
    folded++;
    const { dtype, shape } = output;
    return differences(output.name, { dtype, shape, data }, declaredAs(expected, template.outputs[k]!.shape));
  });
  return { wrong, folded };
}

test('what is folded on the CPU is what ONNX says', { timeout: 120_000 }, async () => {
  const failures: string[] = [];
  let total = 0;
  for await (const nodeTest of nodeTests()) {
    try {
      const { wrong, folded } = await fold(nodeTest);
      failures.push(...wrong.map((text) => `${nodeTest.name}: ${text}`));
      total += folded;
    } catch (error) {
      // Operators that only the fallback knows have nothing to fold.
      if (!(error instanceof CalotypeError)) throw new Error(nodeTest.name, { cause: error });
    }
  }
  expect(failures).toEqual([]);
  expect(total).toBeGreaterThan(600);
});
