import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unpackFixtures } from '@calotype/dev/fixtures';
import { expect, test } from 'vitest';
import { CalotypeError } from '../../src/errors.ts';
import { buildTemplate } from '../../src/graph/build.ts';
import type { Value } from '../../src/graph/graph.ts';
import { specialize } from '../../src/graph/specialize.ts';
import { readModel } from '../../src/onnx/reader.ts';
import { mapStore } from '../../src/source/map-store.ts';
import { declaredAs, differences, readReferences } from './reference.ts';

/** Elements of an output that is known: an Identity of a constant. */
function known({ origin }: Value): Float64Array | undefined {
  const source =
    origin.kind === 'node' && origin.node.op === 'Identity' ? origin.node.inputs[0]!.origin : origin;
  return source.kind === 'constant' ? source.data : undefined;
}

/** What is wrong with the outputs that are computed on the CPU when all inputs are known; their number. */
async function fold(folder: string): Promise<{ wrong: string[]; folded: number }> {
  const [file, contents] = await Promise.all(
    ['model.onnx', 'reference.safetensors'].map((name) => readFile(join(folder, name))),
  );
  const references = readReferences(new Uint8Array(contents!));
  const store = mapStore({ 'model.onnx': new Uint8Array(file!) });
  const template = await buildTemplate(await readModel(store, 'model.onnx'), 'model.onnx');
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
  const base = join(await unpackFixtures(), 'onnx-node');
  const names = (await readdir(base)).filter((name) => name.startsWith('test_')).toSorted();
  const failures: string[] = [];
  let total = 0;
  for (const name of names) {
    try {
      const { wrong, folded } = await fold(join(base, name));
      failures.push(...wrong.map((text) => `${name}: ${text}`));
      total += folded;
    } catch (error) {
      // Operators that only the fallback knows have nothing to fold.
      if (!(error instanceof CalotypeError)) throw new Error(name, { cause: error });
    }
  }
  expect(failures).toEqual([]);
  expect(total).toBeGreaterThan(600);
});
